"""What computes attention to a sliding window: tiles of torch's operators, or Triton kernels."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from attnprof.core.errors import UsageError, suggest
from attnprof.nn.banded.triton_sizes import max_width

Implementation = Literal["auto", "tiles", "triton"]
"""`auto` is `tiles` on every device, until Triton kernels have been measured on a GPU."""

Chosen = Literal["tiles", "triton"]

_TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def chosen(name: str) -> Chosen:
    """What an implementation's name stands for.

    Raises:
        UsageError: (a `ValueError`) if there is no such implementation.
    """
    if name not in get_args(Implementation):
        known = get_args(Implementation)
        raise UsageError("implementation", name, f"unknown; {suggest(name, known)}")
    return "triton" if name == "triton" else "tiles"


def check_triton(query: Tensor, value: Tensor, dropout_p: float) -> None:
    """Check that Triton kernels compute attention of these tensors.

    Raises:
        UsageError: (a `ValueError`) if they do not.
    """
    if dropout_p:
        expected = "must be 0 with implementation 'triton', which has no dropout"
        raise UsageError("dropout_p", dropout_p, expected)
    if query.dtype not in _TRITON_DTYPES:
        name = str(query.dtype).removeprefix("torch.")
        expected = "must be float32, bfloat16 or float16 with implementation 'triton'"
        raise UsageError("query", name, expected)
    widest = max_width(query.dtype.itemsize)
    for name, width in (("query", query.shape[3]), ("value", value.shape[3])):
        if width > widest:
            expected = f"must have heads of at most {widest} with implementation 'triton'"
            raise UsageError(name, width, expected)
    if not torch.compiler.is_compiling():
        _check_device(query.device)


def _check_device(device: torch.device) -> None:
    """Check that Triton is there, and runs on a device: on CPU its interpreter does, if it is on.

    Tensors without data need neither.
    """
    if device.type == "meta":
        return
    if importlib.util.find_spec("triton") is None:
        expected = "needs Triton, which is not installed: pip install 'attnprof[triton]'"
        raise UsageError("implementation", "triton", expected)
    if device.type != "cuda" and not _is_interpreted():
        expected = (
            "must be on a CUDA device with implementation 'triton'; on CPU only Triton's "
            "interpreter runs, if TRITON_INTERPRET=1 is set before Triton is imported"
        )
        raise UsageError("query", f"on {device}", expected)


def _is_interpreted() -> bool:
    """Whether the kernels were defined for Triton's interpreter."""
    triton: Any = importlib.import_module("triton")
    kernels: Any = importlib.import_module("attnprof.nn.banded.triton_forward")
    return not isinstance(kernels.forward_kernel, triton.JITFunction)
