"""Growth of a cost that is not known in closed form, only counted, at lengths that may not run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from attnprof.core.bisection import search_last
from attnprof.core.growth.laws import DoublingLaw, name_law
from attnprof.core.growth.polynomial import Growth, solve_growth

Count = Callable[[int], "int | None"]
"""A cost as a function of the length in tokens; None where it cannot be counted."""

MAX_PROBED_LENGTH = 2**22
"""Laws are told up to about so many tokens."""

Alike = Callable[[int, int], bool]
"""Whether counting at two lengths was equally much work."""

_BLOCK = 128
"""Kernels compute in blocks of this many tokens, or of another power of two."""

_SHORTEST_UNIT = 8
"""Shorter ones leave no lengths between their multiples to check at."""

_NEAR = 64
"""Units to the length on the way: what takes memory with the square of the length shows there."""


@dataclass(frozen=True, slots=True)
class EmpiricalGrowth:
    """What the counts at a few lengths tell.

    Attributes:
        growth: the exact polynomial at multiples of `step` and of `multiple`; None without one.
        step: lengths are padded to multiples of so many tokens, in whole or in part; 1 if not.
        inner_slope: what a token costs inside a step: what is not padded.
        multiple: the polynomial was seen to hold at multiples of so many tokens only; 1 where it
            holds between them too.
        law: the law at lengths of millions, where no polynomial holds there.
        longest: the longest length that the polynomial was solved from.
    """

    growth: Growth | None
    step: int
    unpadded_slope: int
    multiple: int
    law: DoublingLaw | None
    longest: int

    @property
    def is_known_everywhere(self) -> bool:
        """Whether `cost` tells every length."""
        return self.growth is not None and self.multiple == 1 and self.law is None

    def cost(self, seq_len: int) -> Fraction:
        """The cost of any length, where it is known everywhere."""
        assert self.growth is not None
        padded = -(-seq_len // self.step) * self.step
        return self.growth.at(padded) - self.unpadded_slope * (padded - seq_len)


def fit_growth(
    count: Count, lengths: Sequence[int], alike: Alike = lambda shorter, longer: False
) -> EmpiricalGrowth | None:
    """Tell the growth from counts: the polynomial, the steps of padding, or the law of doublings.

    Args:
        count: the cost; it is asked for about 50 lengths at most.
        lengths: some at which it can be counted, ascending.
        alike: whether counting was equally much work at two lengths that have been counted.

    Returns:
        None where it can be counted at too few lengths to tell anything.
    """
    unit, growth = _solve(count, _units(lengths))
    if growth is None:
        return _told_by_two(count, lengths)
    is_exact = not growth.residual
    between = [(n, count(n)) for n in (4 * unit - 1, 2 * unit + unit // 2 + 1)]
    holds_between = is_exact and all(value == growth.at(n) for n, value in between)
    law = _beyond(count, unit, growth, alike) if holds_between else None
    if holds_between and growth.law != "constant" and law is None:
        return EmpiricalGrowth(growth, 1, 0, 1, None, 4 * unit)
    step, slope = find_padding_multiple(count, unit)
    if step > 1:
        padded_unit, padded_growth = _solve(count, (-(-unit // step) * step, step))
        if padded_growth is not None and not padded_growth.residual:
            law = _beyond(count, padded_unit, padded_growth, alike)
            return EmpiricalGrowth(padded_growth, step, slope, 1, law, 4 * padded_unit)
    blocks = None if holds_between else _in_blocks(count, unit, alike)
    if blocks is not None:
        return blocks
    # What holds neither between its lengths nor beyond them is no law but chance.
    law = _beyond(count, unit, growth, alike) if is_exact and not holds_between else law
    if is_exact and (holds_between or law is None):
        return EmpiricalGrowth(growth, 1, 0, 1 if holds_between else unit, law, 4 * unit)
    law = law or _law(count, -(-unit // step) * step)
    return None if law is None else EmpiricalGrowth(None, step, slope, 1, law, law.longer)


def _in_blocks(count: Count, unit: int, alike: Alike) -> EmpiricalGrowth | None:
    """The growth at multiples of a block, between which the last block is only part of one.

    What goes through such costs at multiples of another number may be a parabola by chance.
    """
    block = max(_BLOCK, 1 << (unit.bit_length() - 1))
    _, growth = _solve(count, (block,))
    if growth is None or growth.residual:
        return None
    if any(count(factor * block) != growth.at(factor * block) for factor in (5, 7)):
        return None
    law = _beyond(count, block, growth, alike)
    return EmpiricalGrowth(growth, 1, 0, block, law, 7 * block)


def find_padding_multiple(count: Count, start: int) -> tuple[int, int]:
    """The multiple that lengths are padded to, and what a token costs inside a step of it.

    Inside a step the cost is constant, or rises evenly where a part of the work is not padded. Two
    ends of steps are sought from `start` on by galloping and bisection; (1, 0) where there are
    none.
    """
    values = [count(start + offset) for offset in range(5)]
    known = [value for value in values if value is not None]
    if len(known) < 5:
        return 1, 0
    slopes = [after - before for before, after in pairwise(known)]
    for index in range(3):
        if slopes[index] == slopes[index + 1]:
            return _step_from(count, start + index, slopes[index])
    for index in range(2):
        # Steps of two have no two even slopes beside each other.
        if slopes[index] == slopes[index + 2]:
            end = start + index + 1
            if _is_step(count, end, 2, slopes[index]):
                return 2, slopes[index]
    return 1, 0


def _step_from(count: Count, inside: int, slope: int) -> tuple[int, int]:
    end = _end_of_step(count, inside, slope)
    next_end = None if end is None else _end_of_step(count, end + 1, slope)
    if end is None or next_end is None:
        return 1, 0
    step = next_end - end
    return (step, slope) if _is_step(count, next_end, step, slope) else (1, 0)


def _end_of_step(count: Count, inside: int, slope: int) -> int | None:
    """The last length up to which the cost rises evenly; None where that cannot be seen."""
    first = count(inside)

    def is_even(length: int) -> bool | None:
        value = count(length)
        return (
            None if value is None or first is None else value - first == slope * (length - inside)
        )

    width = search_last(lambda width: is_even(inside + width), 1, MAX_PROBED_LENGTH - inside)
    return None if width is None else inside + width


def _is_step(count: Count, end: int, step: int, slope: int) -> bool:
    """Whether a step ends at `end` and at its double, and is `step` long there."""
    if step < 2 or end % step:
        return False
    for last in (end, 2 * end):
        begin, before, value, after = (
            count(n) for n in (last - step + 1, last - 1, last, last + 1)
        )
        if begin is None or before is None or value is None or after is None:
            return False
        is_even = value - begin == slope * (step - 1) and value - before == slope
        if not is_even or after - value == slope:
            return False
    return True


def _units(lengths: Sequence[int]) -> Iterator[int]:
    """Lengths whose multiples may all run, where some modules take multiples of a block only."""
    common = math.gcd(*lengths)
    yield max(_SHORTEST_UNIT, lengths[-1] // 4)
    yield common
    yield from (common // part for part in range(2, 17) if common % part == 0)


def _solve(count: Count, units: Sequence[int] | Iterator[int]) -> tuple[int, Growth | None]:
    """The growth at four multiples of the first unit at which all four can be counted."""
    for unit in units:
        values: dict[int, int] = {}
        for length in (unit, 2 * unit, 3 * unit, 4 * unit):
            value = count(length)
            if value is None:
                break
            values[length] = value
        else:
            return unit, solve_growth(values.__getitem__, tuple(values))
    return 0, None


def _doublings(count: Count, unit: int) -> list[tuple[int, int]]:
    """Counts at doublings of `unit`, as far as they go.

    Each comes before the next is asked for: a loop over blocks that takes a second would take an
    hour at the longest.
    """
    points: list[tuple[int, int]] = []
    length = unit
    while length <= max(MAX_PROBED_LENGTH, 4 * unit):
        value = count(length)
        if not value:
            break
        points.append((length, value))
        length *= 2
    return points


def _law(count: Count, unit: int) -> DoublingLaw | None:
    """The law at doublings of `unit`, as far as they can be counted."""
    points = _doublings(count, unit)
    return name_law(points) if len(points) > 1 else None


def _beyond(count: Count, unit: int, growth: Growth, alike: Alike) -> DoublingLaw | None:
    """The law at long lengths, where the polynomial does not hold there: windows end it."""
    if alike(unit, 4 * unit) and _holds_far(count, unit, growth):
        return None
    points = _doublings(count, unit)
    if not points or points[-1][1] == growth.at(points[-1][0]):
        return None
    return name_law(points)


def _holds_far(count: Count, unit: int, growth: Growth) -> bool:
    """Whether the polynomial holds at the farthest doubling, and at one on the way there.

    Only for what takes no longer to count where it is longer.
    """
    longest = max(MAX_PROBED_LENGTH, 4 * unit)
    last = next(unit << doubling for doubling in range(64) if unit << doubling + 1 > longest)
    near = min(_NEAR * unit, last)
    return all(count(length) == growth.at(length) for length in dict.fromkeys((near, last)))


def _told_by_two(count: Count, lengths: Sequence[int]) -> EmpiricalGrowth | None:
    counted = [(length, value) for length in lengths if (value := count(length))]
    if len(counted) < 2:
        return None
    shorter, longer = counted[-2:]
    law = name_law([shorter, longer])
    return EmpiricalGrowth(None, 1, 0, 1, law, longer[0])
