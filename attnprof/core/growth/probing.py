"""Counts of a cost at the lengths from which its growth is determined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attnprof.core.growth.polynomial import Growth, solve_growth

Count = Callable[[int], "int | None"]
"""A cost as a function of the length in tokens; None where it cannot be counted."""


def costs_at_multiples(count: Count, unit: int, ratio: int, limit: int) -> list[tuple[int, int]]:
    """(length, cost) at `unit` tokens and at lengths that are each `ratio` times the one before.

    It ends at the first length without a cost above 0. Lengths are counted in ascending order, so
    that it ends before a length that would take too long: a loop over blocks that takes a second
    at one length would take an hour at the longest.

    Args:
        count: the cost.
        unit: the first length, in tokens.
        ratio: of each length to the one before, 2 or more.
        limit: the longest length, in tokens.
    """
    points: list[tuple[int, int]] = []
    seq_len = unit
    while seq_len <= limit:
        value = count(seq_len)
        if not value:
            break
        points.append((seq_len, value))
        seq_len *= ratio
    return points


def solve_at(count: Count, lengths: Sequence[int]) -> Growth | None:
    """The polynomial through the first three of four lengths, checked at the fourth.

    None where the cost cannot be counted at all four.
    """
    values: dict[int, int] = {}
    for seq_len in lengths:
        value = count(seq_len)
        if value is None:
            return None
        values[seq_len] = value
    return solve_growth(values.__getitem__, lengths)


def holds_at(growth: Growth, count: Count, lengths: Iterable[int]) -> bool:
    """Whether the cost equals the polynomial at all lengths; false if it cannot be counted."""
    return all(count(seq_len) == growth.at(seq_len) for seq_len in lengths)
