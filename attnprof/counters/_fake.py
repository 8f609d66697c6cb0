"""Counting on fake tensors: shapes without numbers, dispatched as on the real device.

A count at operator level depends on shapes alone, so it is the same on fake tensors, in
milliseconds and without memory. Not so for modules whose shapes depend on data, such as
transformers' Longformer with global tokens, which looks for them with `nonzero`: these run for
real.
"""

from __future__ import annotations

from collections.abc import Callable

from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)

from attnprof.call import Build, Call
from attnprof.operators.fake import fake_mode


def on_fake_tensors(build: Build, count: Callable[[Call], int]) -> int:
    """`count` of a call on fake tensors, or on real ones where shapes depend on data."""
    if _shapes_depend_on_data(build):
        return count(build())
    with fake_mode():
        return count(build())


def _shapes_depend_on_data(build: Build) -> bool:
    """Whether a plain pass fails on fake tensors; asked first, as ptflops swallows exceptions."""
    try:
        with fake_mode():
            build().forward()
    except (DataDependentOutputException, DynamicOutputShapeException):
        return True
    return False
