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
from attnprof.core.mask_counts import BLOCK, mask_blocks, mask_counts
from attnprof.core.mask_pattern import MaskPattern
from attnprof.core.pattern import AttentionPattern

_Blocks = range | frozenset[int]
"""Indices of blocks, or their distances from another block."""


@dataclass(frozen=True, slots=True)
class BlockRow:
    """The blocks of keys that one block of queries attends to, by index, ascending.

    Attributes:
        partial: blocks of which some pairs are attended.
        full: blocks of which all pairs are attended.
    """

    partial: tuple[int, ...]
    full: tuple[int, ...]


def block_rows(layer: AttentionPattern, head: int, seq_len: int) -> Iterator[BlockRow]:
    """The blocks of keys for each block of queries of a head, from the first query to the last.

    Symmetric global tokens count as keys only: their queries have separate projections and are not
    computed in blocks.

    Args:
        layer: the pattern.
        head: index of the head.
        seq_len: tokens.
    """
    if isinstance(layer, MaskPattern):
        yield from _rows_of_mask(layer, head, seq_len)
        return
    band = _Band.of(layer, layer.dilation[head], seq_len)
    of_globals = _blocks_of_globals(layer)
    for index, first in enumerate(range(0, seq_len, BLOCK)):
        last = min(first + BLOCK, seq_len) - 1
        touched = {block for block in of_globals if index >= block or not layer.causal}
        touched |= set(band.touched(first, last))
        full = {block for block in touched if band.is_full(first, last, block)}
        yield BlockRow(tuple(sorted(touched - full)), tuple(sorted(full)))


def block_runs(layer: AttentionPattern, head: int, seq_len: int) -> Iterator[BlockRun]:
    """All blocks of a head, those of `block_rows`; the last ones end where the sequence does."""
    for index, row in enumerate(block_rows(layer, head, seq_len)):
        queries = _tokens(index, seq_len)
        for blocks in consecutive(sorted(row.partial + row.full)):
            whole = min(blocks.stop, seq_len // BLOCK) - blocks.start
            if whole:
                yield BlockRun(queries, _tokens(blocks.start, seq_len), whole, 0, BLOCK)
            if whole < len(blocks):
                yield BlockRun(queries, _tokens(blocks.stop - 1, seq_len))


def _rows_of_mask(layer: MaskPattern, head: int, seq_len: int) -> Iterator[BlockRow]:
    blocks = mask_blocks(layer.function, layer.num_heads, seq_len)
    for pairs, sizes in zip(blocks.of_head(head), blocks.sizes, strict=True):
        touched, full = pairs > 0, pairs == sizes
        partial = (touched & ~full).nonzero()[0]
        yield BlockRow(tuple(partial.tolist()), tuple(full.nonzero()[0].tolist()))


def block_scores(layer: AttentionPattern, seq_len: int) -> int:
    """Scores in the blocks with an attended pair, of all heads of one sequence.

    The time does not depend on the length, except for heads with a dilation above 128: there it
    grows with the number of keys in the window. A mask function is evaluated at all pairs.
    """
    if isinstance(layer, MaskPattern):
        return mask_counts(layer.function, layer.num_heads, seq_len).block_scores
    return _scores_of_bands(layer, seq_len)


@lru_cache(maxsize=1024)
def _scores_of_bands(layer: AttentionPattern, seq_len: int) -> int:
    of_globals = _blocks_of_globals(layer)
    return sum(
        heads * _scores_of_head(_Band.of(layer, dilation, seq_len), of_globals, layer.causal)
        for dilation, heads in Counter(layer.dilation).items()
    )


def _blocks_of_globals(layer: AttentionPattern) -> frozenset[int]:
    return frozenset(position // BLOCK for position in layer.global_positions)


def _tokens(block: int, seq_len: int) -> range:
    return range(block * BLOCK, min((block + 1) * BLOCK, seq_len))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Band:
    """The keys around the queries of one head.

    Attributes:
        left: keys before a query, in steps of the dilation.
        right: keys after it.
        dilation: tokens between neighbouring keys.
        seq_len: tokens.
    """

    left: int
    right: int
    dilation: int
    seq_len: int

    @classmethod
    def of(cls, layer: AttentionPattern, dilation: int, seq_len: int) -> _Band:
        left, right = layer.sides(seq_len)
        return cls(left=left, right=right, dilation=dilation, seq_len=seq_len)

    @property
    def last_block(self) -> int:
        """Index of the last block, which may be shorter than others."""
        return (self.seq_len - 1) // BLOCK

    def touched(self, first: int, last: int) -> _Blocks:
        """Blocks with a key of one of the queries from `first` to `last`."""
        if self.dilation <= last - first + 1:
            # The keys at k and at k + 1 strides from these queries are adjacent spans, or overlap.
            start = max(0, first - self.left * self.dilation)
            stop = min(self.seq_len - 1, last + self.right * self.dilation)
            return range(start // BLOCK, stop // BLOCK + 1)
        before = min(self.left, last // self.dilation)
        after = min(self.right, (self.seq_len - 1 - first) // self.dilation)
        shifts = range(-before * self.dilation, after * self.dilation + 1, self.dilation)
        return frozenset(
            block
            for shift in shifts
            for block in range(
                max(0, first + shift) // BLOCK,
                min(self.seq_len - 1, last + shift) // BLOCK + 1,
            )
        )

    def is_full(self, first: int, last: int, block: int) -> bool:
        """Whether all queries from `first` to `last` attend to all keys of a block."""
        keys = _tokens(block, self.seq_len)
        return self.dilation == 1 and last - self.left <= keys[0] and keys[-1] <= first + self.right

    def offsets(self) -> _Blocks:
        """Blocks touched by 128 queries, relative to their own, as far as the sequence reaches."""
        farthest = self.last_block
        if self.dilation <= BLOCK:
            before, after = self.left * self.dilation, self.right * self.dilation
            first, last = -before // BLOCK, (BLOCK - 1 + after) // BLOCK
            return range(max(first, -farthest), min(last, farthest) + 1)
        most = (farthest + 1) * BLOCK // self.dilation + 1
        before, after = (min(side, most) * self.dilation for side in (self.left, self.right))
        starts = range(-before, after + 1, self.dilation)
        return frozenset(
            block
            for start in starts
            for block in (start // BLOCK, (start + BLOCK - 1) // BLOCK)
            if abs(block) <= farthest
        )

    def rows_at_last_block(self, offsets: _Blocks) -> int:
        """How many rows of 128 queries before the last one have a key in the last block."""
        last = self.last_block
        if self.dilation <= BLOCK:
            # The last query of the row reaches the first key of the block.
            missing = last * BLOCK - (BLOCK - 1) - self.right * self.dilation
            return last - min(last, max(0, -(-missing // BLOCK)))
        return sum(self._reaches_last(last - offset) for offset in offsets if 0 < offset <= last)

    def _reaches_last(self, row: int) -> bool:
        start, last = row * BLOCK, self.last_block
        fewest = -(-(last * BLOCK - BLOCK + 1 - start) // self.dilation)
        most = (self.seq_len - 1 - start) // self.dilation
        return max(fewest, -self.left) <= min(most, self.right)


def _scores_of_head(band: _Band, of_globals: frozenset[int], causal: bool) -> int:
    """Scores of all blocks of a head.

    All rows of 128 queries have the same blocks relative to their own, as far as these are in the
    sequence. The last row and the last column may be shorter, and are counted apart.
    """
    last = band.last_block
    keys_of_last = band.seq_len - BLOCK * last
    of_last_row = band.touched(BLOCK * last, band.seq_len - 1)
    blocks = len(of_last_row) + sum(block not in of_last_row for block in of_globals)
    scores = keys_of_last * (BLOCK * (blocks - 1) + keys_of_last)

    offsets = band.offsets()
    whole = _whole_blocks(offsets, last)
    for block in of_globals - {last}:
        # Attention sinks are keys of their own and later rows only.
        first_row = block if causal else 0
        whole += last - first_row - _between(offsets, block - last + 1, block - first_row)
    has_last_column = last in of_globals and not causal
    rows_at_last = last if has_last_column else band.rows_at_last_block(offsets)
    return scores + BLOCK * BLOCK * whole + BLOCK * keys_of_last * rows_at_last


def _whole_blocks(offsets: _Blocks, count: int) -> int:
    """How many blocks at these distances are among `count` rows and as many columns."""
    if isinstance(offsets, frozenset):
        return sum(max(0, count - abs(offset)) for offset in offsets)
    before = min(-offsets[0], count) if offsets[0] < 0 else 0
    after = min(offsets[-1], count) if offsets[-1] > 0 else 0
    beside = sum(side * count - side * (side + 1) // 2 for side in (before, after))
    return count + beside


def _between(values: _Blocks, lowest: int, highest: int) -> int:
    """How many of the values are from `lowest` to `highest`."""
    if isinstance(values, frozenset):
        return sum(lowest <= value <= highest for value in values)
    return max(0, min(values.stop, highest + 1) - max(values.start, lowest))
