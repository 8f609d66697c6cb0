"""From which length on one cost is below another, or above it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from attnprof.core.bisection import bisect_last
from attnprof.core.growth.polynomial import Cost

Side = Literal["less", "equal", "more"]
"""What one cost is of another."""

RIPPLE = 64
"""Steps that ripples of tiles are narrower than."""

_DENSE_PROBES = 64

_MOST_RIPPLES = 16


@dataclass(frozen=True, slots=True)
class Crossover:
    """From where on one cost keeps the side of another that it has at the longest length.

    Attributes:
        side: at the longest length.
        before: the longest length at which the side was seen to be another; 0 where there is none.
        first: a length from which on the side stays; `before` + 1 where it is known exactly.
    """

    side: Side
    before: int
    first: int


def side_of(cost: float | Fraction, reference: float | Fraction) -> Side:
    """Which side of the reference a cost is on."""
    return "less" if cost < reference else "more" if cost > reference else "equal"


def solve_crossover(
    cost: Cost, reference: Cost, longest: int, step: int = 1, ripple: int = RIPPLE
) -> Crossover:
    """Where a cost crosses another for good, up to `longest`.

    `step` is the multiple to which `cost` pads its lengths, 1 if it pads none: inside a step `cost`
    is constant and `reference` must not fall. Where the two differ by a function that is concave in
    the steps, or convex where the cost ends up above, as of a linear and a quadratic cost, the
    answer is exact; so it is with ripples upon that, as tiles make them, none of them wider than
    `ripple` steps. Wider ones than usual, as of costs that are padded unlike, are looked for at the
    longest lengths too. A few lengths far from there, at which tiles change and the sides meet
    once more, may be passed over.
    """
    side = side_of(cost(longest), reference(longest))

    def holds(length: int) -> bool:
        return side_of(cost(length), reference(length)) == side

    def ends(index: int) -> tuple[int, int]:
        """The first and the last length of a step."""
        return index * step + 1, min((index + 1) * step, longest)

    # The reference rises inside a step: "less" holds in all of it once it does at its beginning.
    decisive = {"less": slice(1), "more": slice(1, 2), "equal": slice(2)}[side]

    def holds_in(index: int) -> bool:
        return all(holds(length) for length in ends(index)[decisive])

    steps = -(-longest // step)
    probes = {*range(min(steps, _DENSE_PROBES)), *_geometric(steps), steps - 1}
    if ripple > RIPPLE:
        probes |= {*range(max(0, steps - ripple), steps)}
    probes = sorted(probes)
    failing = next((i for i in reversed(probes) if not holds_in(i)), None)
    if failing is None:
        return Crossover(side, 0, 1)
    after = next((i for i in probes if i > failing), None)
    if after is not None:
        failing = _first_after(failing, after, holds_in) - 1
    for _ in range(_MOST_RIPPLES):
        rippled = range(min(failing + ripple, steps - 1), failing, -1)
        later = next((i for i in rippled if not holds_in(i)), None)
        if later is None:
            break
        failing = later
    begin, end = ends(failing)
    first = _first_after(begin, end, holds) if holds(end) else end + 1
    return Crossover(side, first - 1, first)


def _geometric(stop: int) -> list[int]:
    probes = [1]
    while probes[-1] < stop:
        probes.append(probes[-1] + max(1, probes[-1] // 8))
    return [probe for probe in probes if probe < stop]


def _first_after(failing: int, holding: int, holds: Callable[[int], bool]) -> int:
    """The smallest value after `failing` at which `holds` is true, it being true at `holding`."""
    last = bisect_last(lambda value: not holds(value), failing, holding)
    assert last is not None
    return last + 1


def search_crossover(
    side_at: Callable[[int], Side | None], lengths: Sequence[int], guess: Crossover | None = None
) -> Crossover:
    """Where two costs cross that have to be counted, at few lengths.

    Args:
        side_at: the side at a length; None where one of them cannot be counted.
        lengths: ascending, at which they can; the search is between them.
        guess: what polynomials tell, taken where counts at its two lengths confirm it.

    Raises:
        ValueError: when they cannot be counted at the last of `lengths`.
    """
    sides: list[Side | None] = [side_at(length) for length in lengths]
    side = sides[-1]
    if side is None:
        raise ValueError(f"the costs at {lengths[-1]} tokens cannot be counted")
    others = [index for index, other in enumerate(sides) if other != side]
    before, first = (lengths[others[-1]], lengths[others[-1] + 1]) if others else (0, lengths[0])
    # Equal costs have no first length: where padding meets, they part again before the next.
    if guess and side != "equal" and guess.before >= before:
        low, high = side_at(guess.before) if guess.before else None, side_at(guess.first)
        if high == side and low not in (side, None):
            return Crossover(side, guess.before, guess.first)
    if not before or side == "equal":
        return Crossover(side, before, first)
    # Some modules take multiples of a block only: those first, then whatever runs between.
    for unit in (math.gcd(*lengths), 1):
        while first - before > unit:
            middle = (before // unit + first // unit) // 2 * unit
            found = side_at(middle)
            if found is None:
                break
            before, first = (before, middle) if found == side else (middle, first)
    return Crossover(side, before, first)


@dataclass(frozen=True, slots=True)
class MeasuredRatio:
    """A cost in units of another, as measured at one length, with its interval."""

    seq_len: int
    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class MeasuredCrossover:
    """Where a measured ratio falls below 1 for good, or rises above it.

    Attributes:
        crossing: the measured lengths on its both sides.
        length: solved between them; None where all measured lengths are on one side.
        low: the shortest length that the ratios' intervals allow; None where they allow even the
            measured length before.
        high: the longest that they allow; None where they allow even the measured length after.
    """

    crossing: Crossover
    length: float | None
    low: float | None
    high: float | None


def interpolate_crossover(ratios: Sequence[MeasuredRatio]) -> MeasuredCrossover:
    """Solve for a ratio of 1, its logarithm being linear in that of the length between two.

    Args:
        ratios: one or more, in ascending lengths.
    """
    side: Side = "less" if ratios[-1].median < 1 else "more"
    others = [i for i, ratio in enumerate(ratios) if (ratio.median < 1) != (side == "less")]
    if not others:
        return MeasuredCrossover(Crossover(side, 0, ratios[0].seq_len), None, None, None)
    before, after = ratios[others[-1]], ratios[others[-1] + 1]

    def crossed(start: float, end: float) -> float | None:
        """Where the line through two ratios is 1; None where it is not between them."""
        if (start - 1) * (end - 1) > 0 or start == end:
            return None
        part = math.log(start) / math.log(start / end)
        return before.seq_len * (after.seq_len / before.seq_len) ** part

    lows, highs = crossed(before.low, after.low), crossed(before.high, after.high)
    first, last = (lows, highs) if side == "less" else (highs, lows)
    return MeasuredCrossover(
        Crossover(side, before.seq_len, after.seq_len),
        crossed(before.median, after.median),
        first,
        last,
    )
