"""Measures on fake tensors: shapes without numbers, so that no model is too large to be counted.

Numbers that follow from constants, such as masks and positions, are known all the same. What asks
for others, such as a module that routes tokens by what they say, runs for real.
"""

from __future__ import annotations

import sys
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

from attnprof.call import Build, Call
from attnprof.operators.formulas import formula_of
from attnprof.operators.known_values import KnownValues

_T = TypeVar("_T")

_ASKS_FOR_NUMBERS = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
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
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        KnownValues(lambda operator: formula_of(operator) is not None),
        _one_sequence_a_row(),
    ):
        yield


@contextmanager
def _one_sequence_a_row() -> Generator[None]:
    """Transformers does not look for packed sequences, of which our inputs have none.

    On real tensors it looks, finds none, and attends causally without a mask; of fake tensors it
    assumes that there are some, and multiplies all pairs under a mask.
    """
    if "transformers" not in sys.modules:
        yield
        return
    from transformers import masking_utils

    look = masking_utils.find_packed_sequence_indices
    masking_utils.find_packed_sequence_indices = lambda position_ids: None
    try:
        yield
    finally:
        masking_utils.find_packed_sequence_indices = look


def is_fake_mode() -> bool:
    """Whether tensors that are made now are fake."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None


def asks_for_numbers(error: Exception) -> bool:
    """Whether code failed because fake tensors have none."""
    return isinstance(error, _ASKS_FOR_NUMBERS) or any(word in str(error) for word in _WORDS)


def on_fake_tensors(
    build: Build, measure: Callable[[Call], _T], before_real: Callable[[], None] = lambda: None
) -> _T:
    """`measure` of a call on fake tensors, or on real ones where it asks for numbers.

    Args:
        build: makes the call, fake inside `fake_mode`.
        measure: runs it.
        before_real: called before the call is made of real tensors; raises where it must not be.
    """
    try:
        with fake_mode():
            return measure(build())
    except Exception as error:
        if not asks_for_numbers(error):
            raise
    before_real()
    return measure(build())
