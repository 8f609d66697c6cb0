"""Measures on fake tensors: shapes without numbers, so that no model is too large to be counted.

Numbers that follow from constants, such as masks and positions, are known all the same. What asks
for others, such as a module that routes tokens by what they say, runs for real.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)

from attnprof.core.errors import AttnprofError, MeasurementError, describe_error
from attnprof.counting.call import Build, Call
from attnprof.counting.constant_propagation import ConstantPropagation, ValuesNeededError
from attnprof.counting.fake_patches import looked_at, swappable, unlogged
from attnprof.counting.fake_results import FakeResults
from attnprof.counting.flex_block_masks import block_masks_known
from attnprof.counting.mac_formulas import formula_of
from attnprof.counting.tensor_subclasses import constructors

_T = TypeVar("_T")

_NEEDS_REAL_VALUES = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
    ValuesNeededError,
)

_MESSAGES = (
    "FakeTensor",
    "fake tensor",
    "DataDependentOutput",
    "DynamicOutputShape",
    "data pointer",
    "tensor subclass",
    "meta tensor",
)
"""In the messages of torch where code asks a fake tensor for its numbers."""


class CounterFailedError(MeasurementError):
    """Another counter gave up on a call: maybe on fake tensors alone."""


@contextmanager
def fake_mode() -> Generator[None]:
    """New tensors are fake here, and real ones from outside are taken as such."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    known = ConstantPropagation(lambda operator: formula_of(operator) is not None)
    with (
        fake,
        FakeResults(),
        known,
        constructors(),
        block_masks_known(fake, known),
        swappable(known),
        looked_at(),
        unlogged(),
    ):
        yield


def is_fake_mode() -> bool:
    """Whether tensors that are made now are fake."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None


def needs_real_values(error: Exception) -> bool:
    """Whether code failed because fake tensors have none."""
    return isinstance(error, _NEEDS_REAL_VALUES) or any(word in str(error) for word in _MESSAGES)


def why_not_fake(error: Exception) -> str:
    """Why a call is not run on fake tensors, in words, by what was raised there."""
    if needs_real_values(error):
        return "its shapes depend on data"
    return f"it does not run without numbers ({describe_error(error)})"


def on_fake_tensors_alone(build: Build, measure: Callable[[Call], _T], unknown: str) -> _T:
    """`measure` of a call on fake tensors, and on no others.

    Raises:
        MeasurementError: where it does not run on them; it begins with `unknown`.
    """

    def refuse(error: Exception) -> None:
        why = (
            "depends on data"
            if needs_real_values(error)
            else f"is not known: {why_not_fake(error)}"
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
            error, CounterFailedError
        )
        if is_said_of_the_call and not needs_real_values(error):
            raise
        before_real(error)
    return measure(build())
