"""Measures on fake tensors: shapes without numbers, so that no model is too large to be counted.

Numbers that follow from constants, such as masks and positions, are known all the same. What asks
for others, such as a module that routes tokens by what they say, runs for real.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)

from attnprof.call import Build, Call
from attnprof.errors import AttnprofError, MeasurementError, describe_error
from attnprof.operators.fake_results import FakeResults
from attnprof.operators.flex_masks import block_masks_known
from attnprof.operators.formulas import formula_of
from attnprof.operators.known_values import KnownValues, NumbersNeededError
from attnprof.operators.subclasses import constructors

_T = TypeVar("_T")


class GaveUpError(MeasurementError):
    """Another counter gave up on a call: maybe on fake tensors alone."""


_ASKS_FOR_NUMBERS = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
    NumbersNeededError,
)
_WORDS = (
    "FakeTensor",
    "fake tensor",
    "DataDependentOutput",
    "DynamicOutputShape",
    "data pointer",
    "tensor subclass",
    "meta tensor",
)
"""In the messages of torch where code asks a fake tensor for its numbers."""


@contextmanager
def fake_mode() -> Generator[None]:
    """New tensors are fake here, and real ones from outside are taken as such."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    known = KnownValues(lambda operator: formula_of(operator) is not None)
    with (
        fake,
        FakeResults(),
        known,
        constructors(),
        block_masks_known(fake, known),
        _swappable(known),
        _looked_at(),
        _unlogged(),
    ):
        yield


@contextmanager
def _swappable(known: KnownValues) -> Generator[None]:
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
def _unlogged() -> Generator[None]:
    """An operator that fails is told by whoever catches it, and not by a traceback on stderr."""
    log = logging.getLogger(FakeTensorMode.__module__)
    was_disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was_disabled


@contextmanager
def _looked_at() -> Generator[None]:
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


def is_fake_mode() -> bool:
    """Whether tensors that are made now are fake."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None


def asks_for_numbers(error: Exception) -> bool:
    """Whether code failed because fake tensors have none."""
    return isinstance(error, _ASKS_FOR_NUMBERS) or any(word in str(error) for word in _WORDS)


def why_not_fake(error: Exception) -> str:
    """Why a call is not run on fake tensors, in words, by what was raised there."""
    if asks_for_numbers(error):
        return "its shapes depend on data"
    return f"it does not run without numbers ({describe_error(error)})"


def on_fake_tensors_alone(build: Build, measure: Callable[[Call], _T], unknown: str) -> _T:
    """`measure` of a call on fake tensors, and on no others.

    Raises:
        MeasurementError: where it does not run on them; it begins with `unknown`.
    """

    def refuse(error: Exception) -> None:
        why = (
            "depends on data" if asks_for_numbers(error) else f"is not known: {why_not_fake(error)}"
        )
        raise MeasurementError(f"{unknown} {why}") from error

    return on_fake_tensors(build, measure, refuse)


def on_fake_tensors(
    build: Build,
    measure: Callable[[Call], _T],
    before_real: Callable[[Exception], None] = lambda error: None,
) -> _T:
    """`measure` of a call on fake tensors, or on real ones where it does not run on fake ones.

    What fails on fake tensors is not wrong by that: it may ask for numbers, or call operators that
    do not tell the shape of what they return. What is wrong fails on real tensors, too.

    Args:
        build: makes the call, fake inside `fake_mode`.
        measure: runs it.
        before_real: called before the call is made of real tensors, with what was raised on fake
            ones; raises where it must not be.
    """
    try:
        with fake_mode():
            return measure(build())
    except Exception as error:
        is_said_of_the_call = isinstance(error, AttnprofError) and not isinstance(
            error, GaveUpError
        )
        if is_said_of_the_call and not asks_for_numbers(error):
            raise
        before_real(error)
    return measure(build())
