"""Pairs that torch's fused attention multiplies if it is causal (`is_causal`).

The first query is aligned with the first key, as torch does it. On CPU, each block of queries
multiplies whole blocks of 512 keys, up to the one that holds the key of its last query. Source:
PyTorch, aten/src/ATen/native/cpu/FlashAttentionKernel.cpp, `num_keys` in cpu_flash_attention and
cpu_flash_attention_backward. Kernels on GPUs skip tiles too, of sizes that depend on kernel, GPU
and head_dim; of those the triangle alone is counted, less than a tile of keys for each query too
few.
"""

from __future__ import annotations

from attnprof.core.blocks import BlockRun
from attnprof.core.sdpa_buffers import KEY_BLOCK
from attnprof.core.workload import Device

_UNITS: dict[Device, int] = {"cpu": KEY_BLOCK, "cuda": 1}
"""Keys that are multiplied or skipped together. Blocks of queries on CPU, of 32, 64 or 256, lie
inside a block of keys and so make no difference."""


def fused_causal_pairs(queries: int, keys: int, device: Device) -> int:
    """Pairs that one head multiplies, masked ones inside its blocks included.

    Args:
        queries: queries of one sequence.
        keys: keys of one sequence.
        device: `cpu` or `cuda`, which stands for all GPUs.
    """
    unit = _UNITS[device]
    blocks = min(queries, keys) // unit
    rest = queries - blocks * unit
    return unit**2 * (blocks * (blocks + 1) // 2) + rest * min(keys, (blocks + 1) * unit)


def fused_causal_runs(seq_len: int, device: Device) -> tuple[BlockRun, ...]:
    """The same pairs of as many queries as keys as blocks, about two runs for each doubling.

    They are the blocks on the diagonal, and below it squares of 1, 2, 4, ... blocks.
    """
    unit = _UNITS[device]
    blocks = seq_len // unit
    diagonal = range(unit)
    runs = [BlockRun(diagonal, diagonal, blocks, unit, unit)] if blocks else []
    if blocks * unit < seq_len:
        last = range(blocks * unit, seq_len)
        runs.append(BlockRun(last, last))
    side = unit
    while side < seq_len:
        count = seq_len // (2 * side)
        if count:
            below = BlockRun(range(side, 2 * side), range(side), count, 2 * side, 2 * side)
            runs.append(below)
        first = (2 * count + 1) * side
        if first < seq_len:
            runs.append(BlockRun(range(first, seq_len), range(2 * count * side, first)))
        side *= 2
    return tuple(runs)
