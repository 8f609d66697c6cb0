"""Buffers inside torch's fused attention on CPU, which no tensor holds.

Source: aten/src/ATen/native/cpu/FlashAttentionKernel.cpp.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from attnprof.workload import DTYPE_BYTES, DType

_KEY_BLOCK = 512


def forward_buffer_bytes(
    attentions: int, queries: int, keys: int, head_dim: int, dtype: DType
) -> int:
    """Buffers of one call of the operator.

    Each thread has a block of scores, two statistics for each query and a block of outputs, in
    float32, or in float64 for float64. Where the CPU multiplies matrices of a half precision in
    tiles, keys and values are repacked.

    Args:
        attentions: independent ones at one time: batch times heads.
        queries: of each.
        keys: of each.
        head_dim: width of a head.
        dtype: of the tensors.
    """
    rows, columns = _query_block(queries), min(keys, _KEY_BLOCK)
    size = DTYPE_BYTES[dtype]
    per_thread = max(4, size) * rows * (columns + 2 + head_dim)
    repacked = 0
    if size < 4:
        per_thread += size * rows * columns
        if _repacks(queries, keys, dtype):
            per_thread += size * _even(columns) * head_dim
            per_thread += size * rows * _even(head_dim) * (head_dim % 2)
            repacked = size * (keys * _even(head_dim) + _even(keys) * head_dim)
    return cpu_threads() * per_thread + attentions * repacked


def backward_buffer_bytes(queries: int, keys: int, dtype: DType) -> int:
    """Buffers of one call of the backward operator.

    Two blocks of scores for each thread, and a sum for each query of a block.
    """
    rows, columns = _query_block(queries), min(keys, _KEY_BLOCK)
    size = DTYPE_BYTES[dtype]
    per_thread = max(4, size) * rows * (columns * 2 + 1)
    if size < 4:
        per_thread += size * rows * columns * 2
    return cpu_threads() * per_thread


_chosen_threads: list[int] = []
_any_machine: list[bool] = []


@contextmanager
def on_any_machine() -> Generator[None]:
    """What is predicted meanwhile is the same everywhere: one thread, no special instructions."""
    _any_machine.append(True)
    try:
        with computing_with(1):
            yield
    finally:
        _any_machine.pop()


def is_any_machine() -> bool:
    """Whether what is predicted now is to be the same everywhere."""
    return bool(_any_machine)


@contextmanager
def computing_with(threads: int) -> Generator[None]:
    """What is computed elsewhere with so many threads is predicted for so many meanwhile."""
    _chosen_threads.append(threads)
    try:
        yield
    finally:
        _chosen_threads.pop()


def cpu_threads() -> int:
    """Threads that torch computes with: torch's own word where it is loaded, else its default."""
    if _chosen_threads:
        return _chosen_threads[-1]
    torch = sys.modules.get("torch")
    return _default_threads() if torch is None else int(torch.get_num_threads())


@cache
def _default_threads() -> int:
    configured = os.environ.get("OMP_NUM_THREADS", "")
    if configured.isdecimal() and int(configured) > 0:
        return int(configured)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _query_block(queries: int) -> int:
    return min(queries, 256 if queries >= 768 else 64 if queries >= 192 else 32)


def _even(number: int) -> int:
    return number + number % 2


def _repacks(queries: int, keys: int, dtype: DType) -> bool:
    """Whether fused attention repacks: 64 tokens or more, on a CPU that gains by it."""
    if is_any_machine():
        return False
    torch = sys.modules.get("torch")
    if torch is not None and not torch._C._get_mkldnn_enabled():
        return False
    instructions = f"amx_{_SHORT_NAMES[dtype]}"
    return min(queries, keys) >= 64 and instructions in _cpu_flags()


_SHORT_NAMES = {"bfloat16": "bf16", "float16": "fp16"}


@cache
def _cpu_flags() -> frozenset[str]:
    """Names of the instructions that the CPU has, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())
