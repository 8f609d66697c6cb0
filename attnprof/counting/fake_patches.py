"""Patches of torch and transformers that make them treat fake tensors like real ones."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from attnprof.core.errors import MeasurementError
from attnprof.counting.constant_propagation import ConstantPropagation


@contextmanager
def swappable_parameters(known: ConstantPropagation) -> Generator[None]:
    """Modules of fake tensors can be moved to another type although weak references exist.

    torch then swaps their parameters for others, and refuses if there are weak references to them.
    Fake tensors have weak references to one another, and `known` has them to tensors whose values
    are known; their values are swapped too.
    """
    utilities: Any = torch.utils
    swap, weakref = utilities.swap_tensors, utilities.weakref

    def swap_tensors(first: Tensor, second: Tensor) -> None:
        values = known.forget(first), known.forget(second)
        utilities.weakref = _NoWeakReferences
        try:
            swap(first, second)
        finally:
            utilities.weakref = weakref
        for tensor, value in zip((second, first), values, strict=True):
            if value is not None:
                known.learn(tensor, value)

    utilities.swap_tensors = swap_tensors
    try:
        yield
    finally:
        utilities.swap_tensors = swap


class _NoWeakReferences:
    """Replaces Python's module `weakref` in the code by which torch looks for references."""

    @staticmethod
    def getweakrefs(tensor: Tensor) -> list[Any]:
        return []


@contextmanager
def silent_logger() -> Generator[None]:
    """Torch logs no traceback of an operator that fails: whoever catches the error reports it."""
    log = logging.getLogger(FakeTensorMode.__module__)
    was_disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was_disabled


@contextmanager
def silent_advice() -> Generator[None]:
    """FlexAttention does not advise to compile it: nothing is computed on fake tensors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
        yield


@contextmanager
def masks_inspected() -> Generator[None]:
    """Transformers inspects the values of fake masks as it does those of real ones.

    If a real mask hides nothing, and no sequences are packed, transformers leaves it out. For fake
    masks it assumes the worst case and computes other pairs than a real run. Inside this context it
    treats tensors as real, and does not search tokens for padding to warn about it.
    """
    if "transformers" not in sys.modules:
        yield
        return
    from transformers import PreTrainedModel
    from transformers.utils import import_utils

    model: Any = PreTrainedModel
    is_fake = import_utils.is_fake_tensor
    warn = model.warn_if_padding_and_no_attention_mask
    import_utils.is_fake_tensor = _always_false
    model.warn_if_padding_and_no_attention_mask = _always_false
    try:
        yield
    finally:
        import_utils.is_fake_tensor = is_fake
        model.warn_if_padding_and_no_attention_mask = warn


@contextmanager
def autocast_refused() -> Generator[None]:
    """Without CUDA, torch switches off `torch.autocast("cuda")`: costs of other types are refused.

    Raises:
        MeasurementError: when it is switched on in this context.
    """
    if torch.cuda.is_available():
        yield
        return
    autocast: Any = torch.autocast
    create = autocast.__init__

    def refuse(
        self: Any, device_type: str, *args: Any, enabled: bool = True, **kwargs: Any
    ) -> None:
        if device_type == "cuda" and enabled:
            raise MeasurementError(
                "autocast on cuda cannot be counted without a GPU; set the module's own dtype"
            )
        create(self, device_type, *args, enabled=enabled, **kwargs)

    autocast.__init__ = refuse
    try:
        yield
    finally:
        autocast.__init__ = create


def _always_false(*args: Any) -> bool:
    return False
