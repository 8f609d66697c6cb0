"""Blocks of pairs that a kernel computes, whatever part of them the pattern needs.

A block is some queries by some keys; a kernel multiplies all pairs of it. Blocks that differ only
by their place are one `BlockRun`, so that a million tokens are a few of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCKS_AT_ONCE = 4096
"""Blocks whose overlap with all cells is computed in one step."""


@dataclass(frozen=True, slots=True)
class BlockRun:
    """Equal blocks at equal distances.

    Attributes:
        queries: positions of the queries of the first block; a step above 1 is a dilation.
        keys: positions of its keys. Positions before 0 or after the sequence are padding.
        count: the number of blocks.
        query_step: tokens from the queries of one block to those of the next.
        key_step: tokens from the keys of one block to those of the next.
    """

    queries: range
    keys: range
    count: int = 1
    query_step: int = 0
    key_step: int = 0

    @property
    def pairs(self) -> int:
        """Pairs of all blocks; a pair of two blocks counts twice."""
        return self.count * len(self.queries) * len(self.keys)

    def blocks(self) -> Iterator[tuple[range, range]]:
        """Queries and keys of each block."""
        for index in range(self.count):
            yield (
                _shifted(self.queries, index * self.query_step),
                _shifted(self.keys, index * self.key_step),
            )

    @property
    def middle(self) -> tuple[range, range]:
        """Queries and keys of the block in the middle."""
        index = self.count // 2
        return (
            _shifted(self.queries, index * self.query_step),
            _shifted(self.keys, index * self.key_step),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputedBlocks:
    """Blocks of one head, with the matrix products that are computed over each pair of them.

    Attributes:
        runs: the blocks.
        scores: products of queries with keys, in the forward pass.
        context: products of weights with values, in the forward pass.
        backward: products in the backward pass, recomputed scores included.
        features: MACs of one product for one pair: head_dim, or more where a kernel multiplies
            hidden states.
    """

    runs: tuple[BlockRun, ...]
    scores: int = 1
    context: int = 1
    backward: int = 0
    features: int

    @property
    def pairs(self) -> int:
        """Pairs of all blocks; a pair of two blocks counts twice."""
        return sum(run.pairs for run in self.runs)

    @property
    def macs(self) -> int:
        """MACs of all products in one sequence."""
        return (self.scores + self.context + self.backward) * self.features * self.pairs


def consecutive(positions: Iterable[int]) -> tuple[range, ...]:
    """Ascending positions as ranges without gaps."""
    ranges: list[range] = []
    for position in positions:
        if ranges and ranges[-1].stop == position:
            ranges[-1] = range(ranges[-1].start, position + 1)
        else:
            ranges.append(range(position, position + 1))
    return tuple(ranges)


def rows_of(positions: Sequence[int], seq_len: int) -> tuple[BlockRun, ...]:
    """These queries with all keys."""
    return tuple(BlockRun(queries, range(seq_len)) for queries in consecutive(positions))


def columns_of(positions: Sequence[int], seq_len: int) -> tuple[BlockRun, ...]:
    """All queries with these keys."""
    return tuple(BlockRun(range(seq_len), keys) for keys in consecutive(positions))


def pairs_in_cells(runs: Iterable[BlockRun], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many pairs of the blocks are in each cell of a grid; repeated pairs count repeatedly.

    Args:
        runs: the blocks.
        edges: ascending positions at which cells begin, and the end of the last one `(cells + 1,)`,
            for queries and for keys.

    Returns:
        Pairs `(cells of queries, cells of keys)`. The time depends on the number of blocks and of
        cells, not on tokens.
    """
    import numpy as np

    cells = np.zeros((len(edges) - 1,) * 2, dtype=np.int64)
    for run in runs:
        for start in range(0, run.count, _BLOCKS_AT_ONCE):
            index = np.arange(start, min(start + _BLOCKS_AT_ONCE, run.count))
            queries = _overlaps(run.queries, index * run.query_step, edges)
            keys = _overlaps(run.keys, index * run.key_step, edges)
            cells += queries.T @ keys
    return cells


def _overlaps(
    positions: range, shifts: NDArray[np.int64], edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many of the shifted positions are in each interval between edges `(shifts, cells)`."""
    import numpy as np

    first = positions.start + shifts[:, None]
    below = np.clip(-((first - edges[None, :]) // positions.step), 0, len(positions))
    return np.diff(below, axis=1)


def _shifted(positions: range, tokens: int) -> range:
    return range(positions.start + tokens, positions.stop + tokens, positions.step)
