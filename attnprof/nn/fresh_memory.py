"""Fresh memory holds NaN meanwhile, so that reading what was never written shows in the output.

What an allocation finds in its memory is otherwise chance: a kernel that reads it may be right a
thousand times and wrong in the next process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

_PERTURB = -6
"""M_PERTURB of glibc's malloc.h: each allocation is filled with the complement of the lowest byte,
what is freed with that byte."""

_FILL_WITH_ONES = 0x100
"""Allocations are filled with 0xff: NaN in float16, bfloat16, float32 and float64."""

_LARGEST_BYTES = 2**26
_OF_EACH_SIZE = 4


@contextmanager
def holding_nan(device: torch.device) -> Generator[None]:
    """Allocations on a device hold NaN until they are written.

    On CPU this is glibc's own debugging aid. Where that is missing, and on CUDA, whose allocator
    keeps what is freed, tensors of NaN are freed first, for later ones to take their place.
    """
    malloc_option: Any = getattr(ctypes.CDLL(None), "mallopt", None)
    if device.type != "cpu" or malloc_option is None:
        _free_nan(device)
        yield
        return
    malloc_option(_PERTURB, _FILL_WITH_ONES)
    try:
        yield
    finally:
        malloc_option(_PERTURB, 0)


def _free_nan(device: torch.device) -> None:
    sizes = [2**exponent for exponent in range(9, _LARGEST_BYTES.bit_length())]
    kept = [
        torch.full((size // 4,), torch.nan, dtype=torch.float32, device=device)
        for size in sizes
        for _ in range(_OF_EACH_SIZE)
    ]
    del kept
