"""Which blocks of queries and keys contain attended pairs, without any tensor of n^2 elements.

FlexAttention computes a block of scores if it contains an attended pair. A block is full if all of
its pairs are attended: then it needs no mask. Blocks are squares of 128 tokens, smaller at the end
of the sequence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from attnprof.core.blocks import BlockRun, consecutive
from attnprof.core.pattern import AttentionPattern

BLOCK = 128
"""Tokens on each side of a block, as in FlexAttention."""


@dataclass(frozen=True, slots=True)
class BlockRow:
    """The blocks of keys that one block of queries attends to, by index, ascending.

    Attributes:
        partial: blocks of which some pairs are attended.
        full: blocks of which all pairs are attended.
    """

    partial: tuple[int, ...]
    full: tuple[int, ...]


def block_rows(layer: AttentionPattern, dilation: int, seq_len: int) -> Iterator[BlockRow]:
    """The blocks of keys for each block of queries of a head, from the first query to the last.

    Global tokens count as keys only: their queries have separate projections and are not computed
    in blocks.

    Args:
        layer: the pattern.
        dilation: of the head.
        seq_len: tokens.
    """
    half_window = (layer.window or 0) // 2
    of_globals = {position // BLOCK for position in layer.global_positions}
    for first in range(0, seq_len, BLOCK):
        last = min(first + BLOCK, seq_len) - 1
        touched = of_globals | _touched(first, last, half_window, dilation, seq_len)
        full = {
            block
            for block in touched
            if dilation == 1
            and last - half_window <= block * BLOCK
            and min((block + 1) * BLOCK, seq_len) - 1 <= first + half_window
        }
        yield BlockRow(tuple(sorted(touched - full)), tuple(sorted(full)))


def _touched(first: int, last: int, half_window: int, dilation: int, seq_len: int) -> set[int]:
    """Blocks with a key in the band of the queries from `first` to `last`."""
    if dilation <= last - first + 1:
        # The keys at k and at k + 1 strides from these queries are adjacent spans, or overlap.
        spans = [(first - half_window * dilation, last + half_window * dilation)]
    else:
        before = min(half_window, last // dilation)
        after = min(half_window, (seq_len - 1 - first) // dilation)
        shifts = range(-before * dilation, after * dilation + 1, dilation)
        spans = [(first + shift, last + shift) for shift in shifts]
    return {
        block
        for start, stop in spans
        for block in range(max(0, start) // BLOCK, min(seq_len - 1, stop) // BLOCK + 1)
    }


def block_runs(layer: AttentionPattern, dilation: int, seq_len: int) -> Iterator[BlockRun]:
    """All blocks of a head, those of `block_rows`; the last ones end where the sequence does."""
    for index, row in enumerate(block_rows(layer, dilation, seq_len)):
        queries = _tokens(index, seq_len)
        for blocks in consecutive(sorted(row.partial + row.full)):
            whole = min(blocks.stop, seq_len // BLOCK) - blocks.start
            if whole:
                yield BlockRun(queries, _tokens(blocks.start, seq_len), whole, 0, BLOCK)
            if whole < len(blocks):
                yield BlockRun(queries, _tokens(blocks.stop - 1, seq_len))


def _tokens(block: int, seq_len: int) -> range:
    return range(block * BLOCK, min((block + 1) * BLOCK, seq_len))


@lru_cache(maxsize=1024)
def block_scores(layer: AttentionPattern, seq_len: int) -> int:
    """Scores in the blocks with an attended pair, of all heads of one sequence."""
    return sum(
        heads * _scores_of_head(layer, dilation, seq_len)
        for dilation, heads in Counter(layer.dilation).items()
    )


def _scores_of_head(layer: AttentionPattern, dilation: int, seq_len: int) -> int:
    """Scores of all blocks of a head, in time that does not depend on the length.

    All rows of 128 queries have the same blocks relative to their own, as far as these are in the
    sequence. The last row and the last column may be shorter, and are counted apart.
    """
    last = (seq_len - 1) // BLOCK
    half_window = (layer.window or 0) // 2
    of_globals = {position // BLOCK for position in layer.global_positions}
    keys_of_last = seq_len - BLOCK * last
    of_last_row = of_globals | _touched(BLOCK * last, seq_len - 1, half_window, dilation, seq_len)
    scores = keys_of_last * (BLOCK * (len(of_last_row) - 1) + keys_of_last)

    offsets = _offsets(half_window, dilation, last)
    for offset in offsets:
        scores += BLOCK * BLOCK * max(0, min(last, last - offset) - max(0, -offset))
    for block in of_globals - {last}:
        in_band = sum(0 <= block - offset < last for offset in offsets)
        scores += BLOCK * BLOCK * (last - in_band)
    rows_at_last = sum(
        _reaches_last(last - offset, half_window, dilation, seq_len)
        for offset in offsets
        if 0 < offset <= last
    )
    return scores + BLOCK * keys_of_last * (last if last in of_globals else rows_at_last)


def _offsets(half_window: int, dilation: int, farthest: int) -> set[int]:
    """Blocks of the band of a row of 128 queries, relative to its own, up to a distance."""
    if dilation <= BLOCK:
        reach = half_window * dilation
        first, stop = -reach // BLOCK, (BLOCK - 1 + reach) // BLOCK + 1
        return set(range(max(first, -farthest), min(stop, farthest + 1)))
    steps = min(half_window, (farthest + 1) * BLOCK // dilation + 1)
    starts = range(-steps * dilation, steps * dilation + 1, dilation)
    blocks = {start // BLOCK for start in starts} | {
        (start + BLOCK - 1) // BLOCK for start in starts
    }
    return {block for block in blocks if abs(block) <= farthest}


def _reaches_last(row: int, half_window: int, dilation: int, seq_len: int) -> bool:
    """Whether the band of a row of 128 queries has a key in the last block."""
    start, last = row * BLOCK, (seq_len - 1) // BLOCK
    fewest = -(-(last * BLOCK - BLOCK + 1 - start) // dilation)
    most = (seq_len - 1 - start) // dilation
    return max(fewest, -half_window) <= min(most, half_window)
