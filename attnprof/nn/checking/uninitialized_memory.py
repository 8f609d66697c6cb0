"""Memory that nothing has written holds NaN meanwhile, so that reading it shows in the output.

What such memory holds is otherwise chance: a kernel that reads it may be right a thousand times
and wrong in the next process. There are two kinds of it: what was allocated and not written, and
what lies beside, where a kernel reads past the end of its own. A kernel is run for each of them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal

import torch

Unwritten = Literal["allocated", "freed"]

_UNWRITTEN: tuple[Unwritten, ...] = ("allocated", "freed")
_CHEAP_TOKENS = 1024
_CHEAP_TRIES = 4

_PERTURB = -6
"""M_PERTURB of glibc's malloc.h: what is freed is filled with the lowest byte of a value, what is
allocated with the complement of that."""

_VALUES: dict[Unwritten, int] = {"allocated": 0x100, "freed": 0x1FF}
"""They fill with 0xff, which makes NaN in float16, bfloat16, float32 and float64."""

_LARGEST_BYTES = 2**26
_OF_EACH_SIZE = 4


def tries(seq_len: int) -> tuple[Unwritten, ...]:
    """With what a kernel is run, one call after the other.

    Threads and addresses differ from call to call, and with them what is read: where calls cost
    milliseconds, each kind is tried several times.
    """
    return _UNWRITTEN * (_CHEAP_TRIES if seq_len <= _CHEAP_TOKENS else 1)


@contextmanager
def holding_nan(device: torch.device, unwritten: Unwritten) -> Generator[None]:
    """Allocated or freed memory of a device holds NaN until it is written.

    On CPU this is glibc's own debugging aid. Where that is missing, and on CUDA, whose allocator
    keeps what is freed, tensors of NaN are freed first, for later ones to take their place.
    """
    malloc_option: Any = getattr(ctypes.CDLL(None), "mallopt", None)
    if device.type != "cpu" or malloc_option is None:
        _free_nan(device)
        yield
        return
    malloc_option(_PERTURB, _VALUES[unwritten])
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
