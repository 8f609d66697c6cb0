"""Operators that run as the operators they consist of, to measure what those allocate.

Source: torch/_higher_order_ops/flex_attention.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import CodeType, FrameType
from typing import Any

import torch

_COMPILED_CALL = ("compile_wrapper", "eval_frame.py")
"""The function of torch/_dynamo, and its file, that calls whatever `torch.compile` compiled."""

_ARGUMENT_CHECK = "_flex_attention_hop_wrapper"
"""`flex_attention` itself compiles this function to check its arguments, but not its kernel."""


def decomposed(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[], Any] | None:
    """A function that runs the operators that this one consists of; None if it has a formula."""
    if func is torch.ops.higher_order.flex_attention and not _is_compiled():
        from torch._higher_order_ops.flex_attention import sdpa_dense

        return partial(sdpa_dense, *args, **kwargs)
    return None


def _is_compiled() -> bool:
    """Whether the running code would be compiled in a normal run; counting runs it uncompiled."""
    from attnprof.nn.flex import AS_COMPILED

    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is AS_COMPILED or _is_compiled_call(frame.f_code, frame):
            return True
        frame = frame.f_back
    return False


def _is_compiled_call(code: CodeType, frame: FrameType) -> bool:
    name, file = _COMPILED_CALL
    if code.co_name != name or not code.co_filename.endswith(file):
        return False
    return getattr(frame.f_locals.get("fn"), "__name__", "") != _ARGUMENT_CHECK
