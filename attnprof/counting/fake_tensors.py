"""Measure calls on fake tensors, which have shapes but no values, so no model is too large.

Values that follow from constants, such as masks and positions, are known all the same. A call that
needs other values, such as a module that routes tokens by their content, runs on real tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)

from attnprof.core.errors import AttnprofError, MeasurementError, describe_error
from attnprof.counting.call import Build, Call
from attnprof.counting.constant_propagation import ConstantPropagation, ValuesNeededError
from attnprof.counting.fake_cuda import cuda_functions, fake_tensor_mode
from attnprof.counting.fake_patches import (
    autocast_refused,
    masks_inspected,
    silent_advice,
    silent_logger,
    swappable_parameters,
)
from attnprof.counting.fake_results import FakeResults
from attnprof.counting.flex_block_masks import known_block_masks
from attnprof.counting.mac_formulas import formula_of
from attnprof.counting.tensor_subclasses import subclass_constructors

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
"""Parts of torch's error messages where code requests the values of a fake tensor."""


_NO_CUDA = ("not compiled with CUDA", "support for cuda", "no NVIDIA driver", "No CUDA GPUs")
"""Parts of torch's error messages where real tensors are made on CUDA and there is none."""


class CounterFailedError(MeasurementError):
    """A third-party counter failed on a call; it may only have failed on fake tensors."""


@contextmanager
def fake_mode() -> Generator[None]:
    """New tensors are fake inside; operators accept real ones from outside, too."""
    fake = fake_tensor_mode()
    known = ConstantPropagation(lambda operator: formula_of(operator) is not None)
    with (
        fake,
        FakeResults(),
        known,
        subclass_constructors(),
        known_block_masks(fake, known),
        autocast_refused(),
        swappable_parameters(known),
        masks_inspected(),
        silent_logger(),
        silent_advice(),
    ):
        yield


def is_fake_mode() -> bool:
    """Whether tensors created now are fake."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None


def needs_real_values(error: Exception) -> bool:
    """Whether code failed because fake tensors have no values."""
    return isinstance(error, _NEEDS_REAL_VALUES) or any(word in str(error) for word in _MESSAGES)


def why_not_fake(error: Exception) -> str:
    """Why a call cannot run on fake tensors, given the error that it raised there."""
    if needs_real_values(error):
        return "its shapes depend on data"
    return f"it does not run on fake tensors ({describe_error(error)})"


def on_fake_tensors_alone(build: Build, measure: Callable[[Call], _T], unknown: str) -> _T:
    """`measure` of a call on fake tensors, never on real ones.

    Args:
        build: makes the call, on fake tensors inside `fake_mode`.
        measure: runs it.
        unknown: what is not known if that fails: the subject of the error message.

    Raises:
        MeasurementError: if the call does not run on fake tensors.
    """

    def refuse(error: Exception) -> None:
        if needs_real_values(error):
            message = f"{unknown} depends on data"
        else:
            message = f"{unknown} is not known: {why_not_fake(error)}"
        raise MeasurementError(message) from error

    return on_fake_tensors(build, measure, refuse)


def on_fake_tensors(
    build: Build,
    measure: Callable[[Call], _T],
    before_real: Callable[[Exception], None] = lambda error: None,
) -> _T:
    """`measure` of a call on fake tensors, or on real ones if it does not run on fake ones.

    A call that fails on fake tensors need not be wrong: it may need values, or call operators that
    have no shape function. A call that is wrong fails on real tensors, too. Errors that attnprof
    raises about the call itself are not tried again on real tensors, and on CUDA none are where
    there is no GPU.

    Args:
        build: makes the call, on fake tensors inside `fake_mode`.
        measure: runs it.
        before_real: called with the error on fake tensors before the call is made on real ones;
            raises to prevent that.
    """
    try:
        with fake_mode():
            call = build()
            with cuda_functions(call.module, call.kwargs):
                return measure(call)
    except Exception as error:
        if _is_about_the_call(error):
            raise
        on_fake = error
    try:
        before_real(on_fake)
        return measure(build())
    except Exception as error:
        if not any(words in str(error) for words in _NO_CUDA):
            raise
    if not needs_real_values(on_fake):
        raise on_fake
    message = f"{why_not_fake(on_fake)}, so counting needs a real run, which needs a CUDA device"
    raise MeasurementError(message)


def _is_about_the_call(error: Exception) -> bool:
    """Whether it would be raised on real tensors, too."""
    return (
        isinstance(error, AttnprofError)
        and not isinstance(error, CounterFailedError)
        and not needs_real_values(error)
    )
