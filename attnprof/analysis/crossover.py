"""The length from which one cost stays below or above another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from attnprof.core.bisection import bisect_last
from attnprof.core.growth.polynomial import Cost

Side = Literal["less", "equal", "more"]
"""Where a cost is, compared with a reference."""

RIPPLE = 64
"""Steps of padding: tiles make costs ripple, with ripples narrower than this."""

_DENSE_PROBES = 64
"""The first steps, each of which is probed."""

_MOST_RIPPLES = 16


@dataclass(frozen=True, slots=True)
class Crossover:
    """The length from which one cost keeps the side that it has at the longest length.

    Attributes:
        side: at the longest length.
        before: the longest length known to be on another side; 0 if there is none.
        first: a length from which the side stays; `before` + 1 where it is known exactly.
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
    """The last crossover of two costs that are known at every length.

    Args:
        cost: by length in tokens. Inside a padding step it is constant.
        reference: the cost to compare with. Inside a step it must not decrease.
        longest: the longest length of the search; the side there is the one that is looked for.
        step: the multiple of tokens that `cost` pads lengths to; 1 without padding.
        ripple: the width in steps of the widest ripples, such as those of tiles.

    Returns:
        The exact crossover where the difference of the two costs is concave in the steps, or convex
        and `cost` ends up above, as for a linear and a quadratic cost; ripples of up to `ripple`
        steps on top of that do not matter. Ripples wider than `RIPPLE`, as of costs that pad
        differently, are also searched for at the longest lengths. What may be missed: a few
        shorter lengths at which the tiling changes and the sides meet once more.
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

    failing = _last_failing_step(holds_in, -(-longest // step), ripple)
    if failing is None:
        return Crossover(side, 0, 1)
    begin, end = ends(failing)
    first = _first_after(begin, end, holds) if holds(end) else end + 1
    return Crossover(side, first - 1, first)


def _last_failing_step(holds_in: Callable[[int], bool], steps: int, ripple: int) -> int | None:
    """The last of `steps` in which the side of the longest length does not hold; None if none."""
    numbers = {*range(min(steps, _DENSE_PROBES)), *_geometric(steps), steps - 1}
    if ripple > RIPPLE:
        numbers |= {*range(max(0, steps - ripple), steps)}
    probes = sorted(numbers)
    failing = next((step for step in reversed(probes) if not holds_in(step)), None)
    if failing is None:
        return None
    after = next((step for step in probes if step > failing), None)
    if after is not None:
        failing = _first_after(failing, after, holds_in) - 1
    for _ in range(_MOST_RIPPLES):
        rippled = range(min(failing + ripple, steps - 1), failing, -1)
        later = next((step for step in rippled if not holds_in(step)), None)
        if later is None:
            break
        failing = later
    return failing


def _geometric(stop: int) -> list[int]:
    """Numbers below `stop`, each about an eighth larger than the one before."""
    probes = [1]
    while probes[-1] < stop:
        probes.append(probes[-1] + max(1, probes[-1] // 8))
    return [probe for probe in probes if probe < stop]


def _first_after(failing: int, holding: int, holds: Callable[[int], bool]) -> int:
    """The smallest value after `failing` at which `holds` is true; it is true at `holding`."""
    last = bisect_last(lambda value: not holds(value), failing, holding)
    assert last is not None
    return last + 1


def search_crossover(
    side_at: Callable[[int], Side | None], lengths: Sequence[int], guess: Crossover | None = None
) -> Crossover:
    """The last crossover of two costs that have to be counted, at as few lengths as possible.

    Args:
        side_at: the side at a length; None where one of the costs cannot be counted.
        lengths: ascending lengths at which both can; the search is between them.
        guess: the crossover of fitted polynomials; returned if counts at its two lengths confirm
            it.

    Raises:
        ValueError: when the costs cannot be counted at the last of `lengths`.
    """
    sides: list[Side | None] = [side_at(length) for length in lengths]
    side = sides[-1]
    if side is None:
        raise ValueError(f"the costs at {lengths[-1]} tokens cannot be counted")
    before, first = _bracket(lengths, sides)
    # Equal costs have no first length: where padding meets, they part again before the next.
    if guess and side != "equal" and guess.before >= before and _confirms(side_at, side, guess):
        return Crossover(side, guess.before, guess.first)
    if not before or side == "equal":
        return Crossover(side, before, first)
    return _narrowed(side_at, Crossover(side, before, first), math.gcd(*lengths))


def _bracket(lengths: Sequence[int], sides: Sequence[Side | None]) -> tuple[int, int]:
    """The last length on another side than the last of all, and the length after it."""
    differing = [index for index, side in enumerate(sides) if side != sides[-1]]
    return (lengths[differing[-1]], lengths[differing[-1] + 1]) if differing else (0, lengths[0])


def _confirms(side_at: Callable[[int], Side | None], side: Side, guess: Crossover) -> bool:
    """Whether the sides at the two lengths of a guess are those of a crossover to `side`."""
    low = side_at(guess.before) if guess.before else None
    return side_at(guess.first) == side and low not in (side, None)


def _narrowed(
    side_at: Callable[[int], Side | None], bracket: Crossover, multiple: int
) -> Crossover:
    """The crossover by bisection, as far as the costs can be counted.

    Some modules accept only multiples of a block: those lengths come first, then the ones between.
    """
    before, first = bracket.before, bracket.first
    for unit in (multiple, 1):
        while first - before > unit:
            middle = (before // unit + first // unit) // 2 * unit
            side = side_at(middle)
            if side is None:
                break
            before, first = (before, middle) if side == bracket.side else (middle, first)
    return Crossover(bracket.side, before, first)
