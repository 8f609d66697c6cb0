"""Attended pairs of one head in closed form: a band of keys, and global positions.

n tokens are keys; the last m of them are queries. The query at position i attends to the keys at
i + s k for -left <= k <= right. Counts take time that depends on the number of global positions
only.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadBand:
    """The band of one head, and how many queries and keys there are.

    Attributes:
        left: keys before a query, in steps of the stride.
        right: keys after it.
        stride: tokens between neighbouring keys, 1 or more.
        keys: n, tokens of the sequence.
        queries: m, the last tokens of the sequence, 1 to n.
    """

    left: int
    right: int
    stride: int
    keys: int
    queries: int

    @property
    def first_query(self) -> int:
        """Position of the first query."""
        return self.keys - self.queries

    def pairs(self) -> int:
        """Pairs of the band inside the sequence."""
        before = _sum_of_steps(self.keys, self.left, self.stride) - _sum_of_steps(
            self.first_query, self.left, self.stride
        )
        # The last m tokens have the distances 0 to m - 1 from the end.
        after = _sum_of_steps(self.queries, self.right, self.stride)
        return self.queries + before + after

    def keys_of(self, query: int) -> int:
        """How many keys the query at a position attends to."""
        before = min(self.left, query // self.stride)
        after = min(self.right, (self.keys - 1 - query) // self.stride)
        return 1 + before + after

    def queries_of(self, key: int, first_query: int | None = None) -> int:
        """How many queries, from a position on, attend to the key at a position."""
        first = self.first_query if first_query is None else first_query
        fewest = max(-self.right, -((key - first) // self.stride))
        most = min(self.left, (self.keys - 1 - key) // self.stride)
        return max(0, most - fewest + 1)


def symmetric_global_pairs(band: HeadBand, positions: Sequence[int]) -> int:
    """Pairs outside the band of tokens that attend to all tokens, as all attend to them.

    Args:
        band: the band.
        positions: of the global tokens, ascending, each once.
    """
    rows = positions[bisect_left(positions, band.first_query) :]
    in_rows_and_columns = (
        len(rows) * band.keys + len(positions) * band.queries - len(rows) * len(positions)
    )
    in_band = sum(map(band.keys_of, rows)) + sum(map(band.queries_of, positions))
    return in_rows_and_columns - (in_band - _pairs_in_band(band, rows, positions))


def sink_pairs(band: HeadBand, positions: Sequence[int]) -> int:
    """Pairs outside the band of keys to which their own and all later queries attend.

    Args:
        band: the band, without keys after a query.
        positions: of the keys, ascending, each once.
    """
    pairs = 0
    for position in positions:
        first = max(position, band.first_query)
        pairs += band.keys - first - band.queries_of(position, first)
    return pairs


def _sum_of_steps(tokens: int, most: int, stride: int) -> int:
    """The sum of min(most, i // stride) over i = 0, ..., tokens - 1."""
    rising = min(tokens, stride * most)
    steps, rest = divmod(rising, stride)
    return stride * steps * (steps - 1) // 2 + rest * steps + (tokens - rising) * most


def _pairs_in_band(band: HeadBand, queries: Sequence[int], keys: Sequence[int]) -> int:
    """Pairs of the band with one of these queries and one of these keys, both ascending."""
    by_residue: dict[int, list[int]] = {}
    for key in keys:
        by_residue.setdefault(key % band.stride, []).append(key)
    pairs = 0
    for query in queries:
        same = by_residue.get(query % band.stride, [])
        pairs += bisect_right(same, query + band.right * band.stride) - bisect_left(
            same, query - band.left * band.stride
        )
    return pairs
