"""Which queries of a sequence are compared with a pattern's definition.

Kernels cut a sequence into blocks and treat its ends separately. A sample therefore contains both
ends, the first and last queries with a complete window, both sides of the edges of blocks of every
size in use, and global tokens.
"""

from __future__ import annotations

import random

from attnprof.core.pattern import AttentionPattern

ALL_UP_TO = 256
"""In sequences of at most this many tokens, all queries are compared."""

_BLOCKS = (16, 32, 64, 96, 128, 192, 256, 512, 768, 1024, 1536, 2048, 4096)
"""Block sizes in tokens: of tiles, of operator calls, and of FlexAttention, triton and cuDNN."""

_GLOBALS = 6
_RANDOM = 16
_SEED = 20200410


def sampled_rows(pattern: AttentionPattern, seq_len: int, queries: int | None = None) -> list[int]:
    """Positions of queries, ascending; their number does not grow with the length.

    Args:
        pattern: which keys they attend to.
        seq_len: tokens in the sequence.
        queries: how many of the last tokens are queries; None for all.
    """
    first = 0 if queries is None else seq_len - queries
    if seq_len - first <= ALL_UP_TO:
        return list(range(first, seq_len))
    first_and_last = {first, first + 1, first + 2, seq_len - 3, seq_len - 2, seq_len - 1}
    random_rows = random.Random(_SEED).sample(range(seq_len), _RANDOM)
    rows = first_and_last | set(random_rows) | _globals(pattern)
    for stride in sorted(set(pattern.dilation)):
        rows |= _around_edges(pattern, stride, seq_len)
    return sorted(row for row in rows if first <= row < seq_len)


def _globals(pattern: AttentionPattern) -> set[int]:
    """Some global tokens, the first and the last among them, and their neighbours."""
    chosen = pattern.global_positions
    if len(chosen) > _GLOBALS:
        step = (len(chosen) - 1) / (_GLOBALS - 1)
        chosen = tuple(chosen[round(index * step)] for index in range(_GLOBALS))
    return {position + shift for position in chosen for shift in (-1, 0, 1)}


def _around_edges(pattern: AttentionPattern, stride: int, seq_len: int) -> set[int]:
    """Both sides of the positions where windows become complete, and of edges of blocks.

    For each block size these are the first edge, the last, and one in the middle.
    """
    left, right = (0, 0) if pattern.is_dense else pattern.sides(seq_len)
    before, after = left * stride, right * stride
    edges = {before, before + stride, seq_len - after, seq_len - after - stride}
    for block in {*_BLOCKS, *({left, right, left + right} - {0})}:
        tokens = block * stride  # a block of a dilated head has every stride-th token
        blocks = seq_len // tokens
        # The middle one is odd: an even multiple is an edge of larger blocks too.
        edges |= {tokens * number for number in (1, blocks // 2 | 1, blocks)}
    return {edge + side for edge in edges for side in {-1, 0, stride - 1}}
