"""Fills uninitialised memory with NaN, so that a kernel that reads it returns NaN.

The content of such memory is otherwise random: a kernel that reads it may be right a thousand
times and wrong in the next process. There are two kinds: memory that was allocated and not written,
and freed memory, which a kernel reads if it exceeds the bounds of its tensors. A kernel is run for
each of them.
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
"""M_PERTURB of glibc's malloc.h: freed memory is filled with the lowest byte of a value, allocated
memory with its complement."""

_VALUES: dict[Unwritten, int] = {"allocated": 0x100, "freed": 0x1FF}
"""Both fill with 0xff, which is NaN in float16, bfloat16, float32 and float64."""

_LARGEST_BYTES = 2**26
_OF_EACH_SIZE = 4


def tries(seq_len: int) -> tuple[Unwritten, ...]:
    """The kinds of uninitialised memory for which a kernel is run, one call each.

    Threads and addresses differ from call to call, and with them the memory that is read. If calls
    take only milliseconds, each kind is therefore tried several times.
    """
    return _UNWRITTEN * (_CHEAP_TRIES if seq_len <= _CHEAP_TOKENS else 1)


@contextmanager
def holding_nan(device: torch.device, unwritten: Unwritten) -> Generator[None]:
    """Within the context, allocated or freed memory of a device contains NaN until it is written.

    On CPU this uses a debugging feature of glibc. Where that is missing, and on CUDA, whose
    allocator reuses freed memory, tensors of NaN are freed first, so that later tensors reuse
    their memory.
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
    """Allocate tensors of NaN of many sizes, and free them."""
    sizes = [2**exponent for exponent in range(9, _LARGEST_BYTES.bit_length())]
    tensors = [
        torch.full((size // 4,), torch.nan, dtype=torch.float32, device=device)
        for size in sizes
        for _ in range(_OF_EACH_SIZE)
    ]
    del tensors
