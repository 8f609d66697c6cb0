"""Which blocks of queries and keys a pattern touches, without any tensor of n^2 numbers.

FlexAttention computes a block of scores if any of its pairs is read. A block is full if all are:
then it needs no mask. Blocks are squares of 128 tokens, smaller at the end of the sequence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from attnprof.core.pattern import AttentionPattern

BLOCK = 128


@dataclass(frozen=True, slots=True)
class BlockRow:
    """The blocks of keys that one block of queries reads, by their numbers, ascending."""

    partial: tuple[int, ...]
    full: tuple[int, ...]


def block_rows(layer: AttentionPattern, dilation: int, seq_len: int) -> Iterator[BlockRow]:
    """For each block of queries of a head with that dilation; globals as columns, not as rows.

    What global tokens read has projections of its own, and is not computed by blocks.
    """
    reach = (layer.window or 0) // 2
    of_globals = {position // BLOCK for position in layer.global_positions}
    for first in range(0, seq_len, BLOCK):
        last = min(first + BLOCK, seq_len) - 1
        touched = of_globals | _touched(first, last, reach, dilation, seq_len)
        full = {
            block
            for block in touched
            if dilation == 1
            and last - reach <= block * BLOCK
            and min((block + 1) * BLOCK, seq_len) - 1 <= first + reach
        }
        yield BlockRow(tuple(sorted(touched - full)), tuple(sorted(full)))


def _touched(first: int, last: int, reach: int, dilation: int, seq_len: int) -> set[int]:
    """Blocks with a key of the band of the queries from `first` to `last`."""
    if dilation <= last - first + 1:
        # What the queries read k steps away borders on, or overlaps, what they read k + 1 away.
        spans = [(first - reach * dilation, last + reach * dilation)]
    else:
        before = min(reach, last // dilation)
        behind = min(reach, (seq_len - 1 - first) // dilation)
        shifts = range(-before * dilation, behind * dilation + 1, dilation)
        spans = [(first + shift, last + shift) for shift in shifts]
    return {
        block
        for start, stop in spans
        for block in range(max(0, start) // BLOCK, min(seq_len - 1, stop) // BLOCK + 1)
    }


@lru_cache(maxsize=1024)
def block_scores(layer: AttentionPattern, seq_len: int) -> int:
    """Scores in the blocks that all heads touch, of one sequence."""
    return sum(
        heads * _scores_of_head(layer, dilation, seq_len)
        for dilation, heads in Counter(layer.dilation).items()
    )


def _scores_of_head(layer: AttentionPattern, dilation: int, seq_len: int) -> int:
    last_block, in_last = divmod(seq_len - 1, BLOCK)
    missing = BLOCK - 1 - in_last
    scores = 0
    for number, row in enumerate(block_rows(layer, dilation, seq_len)):
        blocks = row.partial + row.full
        keys = len(blocks) * BLOCK - missing * (last_block in blocks)
        scores += keys * (BLOCK - missing * (number == last_block))
    return scores
