"""The law by which a cost grows, checked at lengths far beyond the given ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from attnprof.core.growth.laws import DoublingLaw, GrowthLaw, name_law, parse_law
from attnprof.core.growth.polynomial import Growth
from attnprof.core.growth.probing import Count, costs_at_multiples, holds_at, solve_at

MAX_PROBED_LENGTH = 2**20
"""Laws are checked up to about this many tokens: every check in CI pays for it."""

_MIN_POINTS = 4
"""The number of points that naming a law takes."""

_PROBE_FACTOR = 8
"""How far beyond `MAX_PROBED_LENGTH` the search goes on if the law has no name up to there."""

_STEPS = (16, 4)
"""Ratios of consecutive lengths at which a polynomial is checked. They are small enough that a loop
which takes a hundredth of a second at one length does not take minutes at the next."""


@dataclass(frozen=True, slots=True)
class ObservedGrowth:
    """How a quantity grows.

    Attributes:
        law: the law; None if the cost is known at too few lengths.
        longest: the longest length at which it was checked, in tokens.
        terms: coefficients of 1, n and n², if the cost is exactly this polynomial.
    """

    law: GrowthLaw | None
    longest: int
    terms: tuple[Fraction, Fraction, Fraction] | None = None


def observe_growth(lengths: Sequence[int], count: Count) -> ObservedGrowth:
    """Determine how a cost grows.

    The growth is the polynomial through the last four lengths if it also holds at much longer ones,
    else the law over doublings of the length.

    Args:
        lengths: lengths at which the cost is known, in tokens, ascending.
        count: the cost at a length; None where it cannot be counted.
    """
    unit = lengths[0]
    far = unit * 2 ** max(0, round(math.log2(MAX_PROBED_LENGTH / unit)))
    return (
        _polynomial(lengths, far, count)
        or _law(lengths, far, count)
        or ObservedGrowth(None, lengths[-1])
    )


def _polynomial(lengths: Sequence[int], far: int, count: Count) -> ObservedGrowth | None:
    """The polynomial through the last four lengths; None if it fails there or at longer ones."""
    last = _four_lengths(lengths, count)
    growth = solve_at(count, last) if len(last) == 4 else None
    if growth is None or growth.residual:
        return None
    farther = _longer_lengths(last[-1], far, count)
    if not holds_at(growth, count, farther):
        return None
    return _exactly(growth, max([*last, *farther]))


def _four_lengths(lengths: Sequence[int], count: Count) -> list[int]:
    """The last four lengths; multiples of the first one fill up if there are fewer."""
    known: list[int] = []
    for seq_len in (*lengths, *(lengths[0] * factor for factor in range(2, 6))):
        if seq_len in known or (len(known) >= 4 and seq_len not in lengths):
            continue
        if count(seq_len) is not None:
            known.append(seq_len)
    return sorted(known)[-4:]


def _longer_lengths(longest: int, far: int, count: Count) -> list[int]:
    """Lengths up to `far` at which the cost can be counted: long steps first, to count few."""
    reached: list[int] = []
    seq_len = longest
    for factor in _STEPS:
        while seq_len < far:
            longer = min(seq_len * factor, far)
            if count(longer) is None:
                break
            reached.append(longer)
            seq_len = longer
    return reached


def _law(lengths: Sequence[int], far: int, count: Count) -> ObservedGrowth | None:
    """The law over doublings, or over the ratio of the lengths; None if no cost is known."""
    unit, ratio = lengths[0], 2
    points = costs_at_multiples(count, unit, ratio, far)
    if (
        len(points) < _MIN_POINTS and _ratio_of(lengths) > ratio
    ):  # such as grids of sqrt n by sqrt n
        ratio = _ratio_of(lengths)
        points = costs_at_multiples(count, unit, ratio, far)
    if len(points) < 2:
        return ObservedGrowth(None, points[-1][0]) if points else None
    law = _named_law(points, ratio, _PROBE_FACTOR * far, count)
    if law.name:
        return ObservedGrowth(parse_law(law.name), law.longer)
    if law.is_settled:
        return ObservedGrowth(GrowthLaw(round(law.exponent, 3)), law.longer)
    # An exponent that still changes says little: a large constant can hide the growing part.
    return _between(points[-1][0], unit, count) or ObservedGrowth(None, law.longer)


def _named_law(points: list[tuple[int, int]], ratio: int, limit: int, count: Count) -> DoublingLaw:
    """The law of the points, with longer ones added: the peak may move to another moment there."""
    law = name_law(points, ratio)
    while not law.name and points[-1][0] < limit:
        seq_len = points[-1][0] * ratio
        value = count(seq_len)
        if not value:
            break
        points.append((seq_len, value))
        law = name_law(points, ratio)
    return law


def _between(longest: int, unit: int, count: Count) -> ObservedGrowth | None:
    """The polynomial through quarters of the longest length, checked at eighths in between."""
    if longest < 8 * unit:
        return None
    quarters = [longest * eighths // 8 for eighths in (2, 4, 6, 8)]
    growth = solve_at(count, quarters)
    if growth is None or growth.residual or min(growth.c1, growth.c2) < 0:
        return None
    if not holds_at(growth, count, [longest * eighths // 8 for eighths in (5, 7)]):
        return None
    return _exactly(growth, longest)


def _exactly(growth: Growth, longest: int) -> ObservedGrowth:
    return ObservedGrowth(parse_law(growth.law), longest, (growth.c0, growth.c1, growth.c2))


def _ratio_of(lengths: Sequence[int]) -> int:
    """The integer ratio of consecutive lengths; 0 if there is none."""
    ratio = lengths[1] // lengths[0] if len(lengths) > 1 else 0
    return ratio if all(ratio * n == longer for n, longer in pairwise(lengths)) else 0
