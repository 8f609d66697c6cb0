"""The law by which a cost grows, checked at lengths far beyond those that are asked for."""

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
"""Laws are checked up to about so many tokens: in CI this is paid at every check."""

_MIN_POINTS = 4
"""Points from which a law can be named."""

_PROBE_FACTOR = 8
"""How far beyond `MAX_PROBED_LENGTH` a law is searched that has no name there."""

_STEPS = (16, 4)
"""Ratios of the lengths at which a polynomial is checked: no step is so long that a loop which
takes a hundredth of a second before it takes minutes behind it."""


@dataclass(frozen=True, slots=True)
class ObservedGrowth:
    """How a quantity grows.

    Attributes:
        law: the law; None where the cost is known at too few lengths.
        longest: the longest length that it was checked at, in tokens.
        terms: coefficients of 1, n and n², where it is this polynomial exactly.
    """

    law: GrowthLaw | None
    longest: int
    terms: tuple[Fraction, Fraction, Fraction] | None = None


def observe_growth(lengths: Sequence[int], count: Count) -> ObservedGrowth:
    """The polynomial through the last four lengths, checked far away; else the law over doublings.

    Args:
        lengths: some at which the cost is known, ascending, in tokens.
        count: the cost.
    """
    unit = lengths[0]
    far = unit * 2 ** max(0, round(math.log2(MAX_PROBED_LENGTH / unit)))
    return (
        _polynomial(lengths, far, count)
        or _law(lengths, far, count)
        or ObservedGrowth(None, lengths[-1])
    )


def _polynomial(lengths: Sequence[int], far: int, count: Count) -> ObservedGrowth | None:
    """The polynomial at the last four lengths; None where it does not hold at them or beyond."""
    last = _four_lengths(lengths, count)
    growth = solve_at(count, last) if len(last) == 4 else None
    if growth is None or growth.residual:
        return None
    farther = _longer_lengths(last[-1], far, count)
    if not holds_at(growth, count, farther):
        return None
    return _exactly(growth, max([*last, *farther]))


def _four_lengths(lengths: Sequence[int], count: Count) -> list[int]:
    """The last four of the lengths, or of those and multiples of the first where they are few."""
    known: list[int] = []
    for seq_len in (*lengths, *(lengths[0] * factor for factor in range(2, 6))):
        if seq_len in known or (len(known) >= 4 and seq_len not in lengths):
            continue
        if count(seq_len) is not None:
            known.append(seq_len)
    return sorted(known)[-4:]


def _longer_lengths(longest: int, far: int, count: Count) -> list[int]:
    """Lengths up to `far`, or to what runs: by long steps first, so that few are counted."""
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
    """The law over doublings, or over the ratio of the lengths; None where two are not known."""
    unit, ratio = lengths[0], 2
    points = costs_at_multiples(count, unit, ratio, far)
    if len(points) < _MIN_POINTS and _ratio_of(lengths) > ratio:  # grids of sqrt n by sqrt n, say
        ratio = _ratio_of(lengths)
        points = costs_at_multiples(count, unit, ratio, far)
    if len(points) < 2:
        return ObservedGrowth(None, points[-1][0]) if points else None
    law = _named_law(points, ratio, _PROBE_FACTOR * far, count)
    if law.name:
        return ObservedGrowth(parse_law(law.name), law.longer)
    if law.is_settled:
        return ObservedGrowth(GrowthLaw(round(law.exponent, 3)), law.longer)
    # The exponent of a whole that has not settled says little: a large constant hides what grows.
    return _between(points[-1][0], unit, count) or ObservedGrowth(None, law.longer)


def _named_law(points: list[tuple[int, int]], ratio: int, limit: int, count: Count) -> DoublingLaw:
    """The law of the points and of longer ones: at a longer one another moment may be the peak."""
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
    """The polynomial through quarters of the longest length, checked at eighths between them."""
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
    """The whole number by which each length is longer than the one before; 0 for none."""
    ratio = lengths[1] // lengths[0] if len(lengths) > 1 else 0
    return ratio if all(ratio * n == longer for n, longer in pairwise(lengths)) else 0
