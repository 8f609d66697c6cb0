"""Buffers inside torch's fused attention on CPU, which no tensor holds.

Source: aten/src/ATen/native/cpu/FlashAttentionKernel.cpp.
"""

from __future__ import annotations

import sys

from attnprof.core.cpu import cpu_threads, has_instruction
from attnprof.core.workload import DTYPE_BYTES, DType

KEY_BLOCK = 512
"""Keys that a block of queries is multiplied with at a time."""

_SHORT_NAMES = {"bfloat16": "bf16", "float16": "fp16"}


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
    rows, columns = query_block(queries), min(keys, KEY_BLOCK)
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
    rows, columns = query_block(queries), min(keys, KEY_BLOCK)
    size = DTYPE_BYTES[dtype]
    per_thread = max(4, size) * rows * (columns * 2 + 1)
    if size < 4:
        per_thread += size * rows * columns * 2
    return cpu_threads() * per_thread


def query_block(queries: int) -> int:
    """Queries that are multiplied at a time, of so many queries in all."""
    return min(queries, 256 if queries >= 768 else 64 if queries >= 192 else 32)


def _even(number: int) -> int:
    return number + number % 2


def _repacks(queries: int, keys: int, dtype: DType) -> bool:
    """Whether fused attention repacks: 64 tokens or more, on a CPU that gains by it."""
    torch = sys.modules.get("torch")
    if torch is not None and not torch._C._get_mkldnn_enabled():
        return False
    instructions = f"amx_{_SHORT_NAMES[dtype]}"
    return min(queries, keys) >= 64 and has_instruction(instructions)
