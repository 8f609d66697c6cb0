"""What torch and transformers do otherwise as soon as tensors are fake, put right meanwhile."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from attnprof.counting.constant_propagation import ConstantPropagation


@contextmanager
def swappable(known: ConstantPropagation) -> Generator[None]:
    """Modules of fake tensors can be moved to another type, though weak references are held.

    Torch swaps their parameters for others, and refuses where anything refers to them weakly. Its
    fake tensors refer to one another so, and known numbers to all that have them.
    """
    utilities: Any = torch.utils
    swap, references = utilities.swap_tensors, utilities.weakref

    def swapped(first: Tensor, second: Tensor) -> None:
        values = known.forget(first), known.forget(second)
        utilities.weakref = _NoReferences
        try:
            swap(first, second)
        finally:
            utilities.weakref = references
        for tensor, value in zip((second, first), values, strict=True):
            if value is not None:
                known.learn(tensor, value)

    utilities.swap_tensors = swapped
    try:
        yield
    finally:
        utilities.swap_tensors = swap


class _NoReferences:
    """Stands for Python's module `weakref` where torch looks for what refers to a tensor."""

    @staticmethod
    def getweakrefs(tensor: Tensor) -> list[Any]:
        return []


@contextmanager
def unlogged() -> Generator[None]:
    """An operator that fails is told by whoever catches it, and not by a traceback on stderr."""
    log = logging.getLogger(FakeTensorMode.__module__)
    was_disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was_disabled


@contextmanager
def looked_at() -> Generator[None]:
    """Transformers looks at the numbers of fake tensors too, where it looks at those of real ones.

    On real tensors it finds that a mask hides nothing, or that no sequences are packed, and leaves
    the mask out. Of fake ones it assumes the worst, and multiplies other pairs than a real run. It
    does not look for padding among tokens to warn of it.
    """
    if "transformers" not in sys.modules:
        yield
        return
    from transformers import PreTrainedModel
    from transformers.utils import import_utils

    model: Any = PreTrainedModel
    is_fake = import_utils.is_fake_tensor
    warn = model.warn_if_padding_and_no_attention_mask
    import_utils.is_fake_tensor = _is_nothing_to_tell
    model.warn_if_padding_and_no_attention_mask = _is_nothing_to_tell
    try:
        yield
    finally:
        import_utils.is_fake_tensor = is_fake
        model.warn_if_padding_and_no_attention_mask = warn


def _is_nothing_to_tell(*args: Any) -> bool:
    """Neither that a tensor is fake, nor that it holds padding."""
    return False
