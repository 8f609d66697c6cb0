"""How a cost grows, seen at lengths far beyond those of a contract."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from attnprof.core.growth.laws import GrowthLaw, name_law, parse_law
from attnprof.core.growth.polynomial import Growth, solve_growth

MAX_PROBED_LENGTH = 2**20
"""Laws are seen up to about so many tokens."""

_TELLING = 4
"""Points from which a law can be named."""

_PROBE_FACTOR = 8

_STEPS = (16, 4)


@dataclass(frozen=True, slots=True)
class ObservedGrowth:
    """How a quantity grows.

    Attributes:
        law: the law; None where too few lengths run to tell it.
        longest: the longest length that it was seen at.
        terms: coefficients of 1, n and n², where it is this polynomial exactly.
    """

    law: GrowthLaw | None
    longest: int
    terms: tuple[Fraction, Fraction, Fraction] | None = None


def observe_growth(lengths: tuple[int, ...], cost: Callable[[int], int | None]) -> ObservedGrowth:
    """The polynomial through the last four lengths, checked far away; else the law of doublings.

    Args:
        lengths: at which the cost is known to run, ascending.
        cost: at a length; None where it does not run.
    """
    known = _four_lengths(lengths, cost)
    unit = lengths[0]
    far = unit * 2 ** max(0, round(math.log2(MAX_PROBED_LENGTH / unit)))
    if len(known) >= 4:
        last = dict(sorted(known.items())[-4:])
        polynomial = solve_growth(last.__getitem__, tuple(last))
        farther = {} if polynomial.residual else _probe_farther(max(last), far, cost)
        if not polynomial.residual and all(polynomial.at(n) == y for n, y in farther.items()):
            terms = (polynomial.c0, polynomial.c1, polynomial.c2)
            return ObservedGrowth(_law_of(polynomial), max(last | farther), terms)
    ratio, points = 2, _multiples(unit, 2, far, cost)
    own_ratio = _ratio_of(lengths)
    if len(points) < _TELLING and own_ratio > ratio:  # grids of sqrt n by sqrt n, say
        ratio, points = own_ratio, _multiples(unit, own_ratio, far, cost)
    if len(points) < 2:
        return ObservedGrowth(None, points[-1][0] if points else max(lengths))
    law = name_law(points, ratio)
    # At the last doubling another moment may have become the peak.
    while not law.name and points[-1][0] < _PROBE_FACTOR * far:
        seq_len = points[-1][0] * ratio
        value = cost(seq_len)
        if not value:
            break
        points.append((seq_len, value))
        law = name_law(points, ratio)
    if law.name:
        return ObservedGrowth(parse_law(law.name), law.longer)
    if law.is_settled:
        return ObservedGrowth(GrowthLaw(round(law.exponent, 3)), law.longer)
    # The exponent of a whole that has not settled says little: a large constant hides what grows.
    return _between(points[-1][0], unit, cost) or ObservedGrowth(None, law.longer)


def _between(longest: int, unit: int, cost: Callable[[int], int | None]) -> ObservedGrowth | None:
    """The polynomial through quarters of the longest length, checked at eighths between them."""
    if longest < 8 * unit:
        return None
    lengths = [longest * eighths // 8 for eighths in (2, 4, 6, 8, 5, 7)]
    values = {n: value for n in lengths if (value := cost(n)) is not None}
    if len(values) < len(lengths):
        return None
    polynomial = solve_growth(values.__getitem__, lengths[:4])
    if min(polynomial.c1, polynomial.c2) < 0 or any(polynomial.at(n) != values[n] for n in lengths):
        return None
    return ObservedGrowth(
        _law_of(polynomial), longest, (polynomial.c0, polynomial.c1, polynomial.c2)
    )


def _four_lengths(lengths: tuple[int, ...], cost: Callable[[int], int | None]) -> dict[int, int]:
    """Costs at the contract's lengths, and at multiples of the shortest where these are few."""
    known: dict[int, int] = {}
    for seq_len in (*lengths, *(lengths[0] * factor for factor in range(2, 6))):
        if seq_len in known or (len(known) >= 4 and seq_len not in lengths):
            continue
        value = cost(seq_len)
        if value is not None:
            known[seq_len] = value
    return known


def _probe_farther(longest: int, far: int, cost: Callable[[int], int | None]) -> dict[int, int]:
    """Costs by steps up to `far`, or to what runs: far ones first, so that few are looked at.

    No step is so far that a loop which takes a hundredth of a second before it takes minutes there.
    """
    reached: dict[int, int] = {}
    seq_len = longest
    for factor in _STEPS:
        while seq_len < far:
            next_len = min(seq_len * factor, far)
            value = cost(next_len)
            if value is None:
                break
            reached[next_len] = value
            seq_len = next_len
    return reached


def _multiples(
    unit: int, ratio: int, far: int, cost: Callable[[int], int | None]
) -> list[tuple[int, int]]:
    """Costs at lengths that are each `ratio` times the one before, as far as they run."""
    points: list[tuple[int, int]] = []
    seq_len = unit
    while seq_len <= far:
        value = cost(seq_len)
        if not value:
            break
        points.append((seq_len, value))
        seq_len *= ratio
    return points


def _ratio_of(lengths: tuple[int, ...]) -> int:
    """The whole number by which each length is longer than the one before; 0 for none."""
    ratio = lengths[1] // lengths[0] if len(lengths) > 1 else 0
    return ratio if all(ratio * n == longer for n, longer in pairwise(lengths)) else 0


def _law_of(growth: Growth) -> GrowthLaw:
    return GrowthLaw(2.0 if growth.c2 else 1.0 if growth.c1 else 0.0)
