"""Growth of a cost that is counted, not known in closed form: exact at all lengths if possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from attnprof.core.bisection import search_last
from attnprof.core.growth.laws import DoublingLaw, name_law
from attnprof.core.growth.polynomial import Growth
from attnprof.core.growth.probing import Count, costs_at_multiples, holds_at, solve_at

MAX_PROBED_LENGTH = 2**22
"""Laws are checked up to about so many tokens."""

Alike = Callable[[int, int], bool]
"""Whether counting at two lengths took equally many operators."""

_BLOCK = 128
"""Kernels compute in blocks of this many tokens, or of another power of two."""

_MIN_UNIT = 8
"""Multiples of fewer tokens leave no lengths between them to check at."""

_NEAR_UNITS = 64
"""Units to the nearer of two lengths at which a polynomial is checked: memory that grows
quadratically shows there."""


@dataclass(frozen=True, slots=True)
class EmpiricalGrowth:
    """How a cost grows, from counts at some lengths.

    Attributes:
        growth: the exact polynomial at multiples of `step` and of `multiple`; None without one.
        step: lengths are padded to multiples of so many tokens, in whole or in part; 1 if not.
        unpadded_slope: the cost of a token inside a step: of what is not padded.
        multiple: the polynomial was checked at multiples of so many tokens only; 1 where it holds
            between them too.
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
        """Whether `cost` is exact at every length."""
        return self.growth is not None and self.multiple == 1 and self.law is None

    def cost(self, seq_len: int) -> Fraction:
        """The cost at any length, where it is known everywhere."""
        assert self.growth is not None
        padded = -(-seq_len // self.step) * self.step
        return self.growth.at(padded) - self.unpadded_slope * (padded - seq_len)


def fit_growth(
    count: Count, lengths: Sequence[int], alike: Alike = lambda shorter, longer: False
) -> EmpiricalGrowth | None:
    """The growth of a cost from counts: a polynomial, steps of padding, or a law over doublings.

    Args:
        count: the cost; it is called for about 50 lengths at most.
        lengths: some at which it can be counted, ascending, in tokens.
        alike: whether counting took equally many operators at two lengths that have been counted.

    Returns:
        None where it can be counted at fewer than two lengths.
    """
    unit, growth = _solve_at_first(count, _units(lengths))
    if growth is None:
        return _exponent_of_last_two(count, lengths)
    is_exact = not growth.residual
    if is_exact and holds_at(growth, count, (4 * unit - 1, 2 * unit + unit // 2 + 1)):
        return _fit_smooth(count, unit, growth, alike)
    step, slope = find_padding_multiple(count, unit)
    fitted = _fit_padded(count, unit, step, slope, alike) or _fit_blocks(count, unit, alike)
    if fitted is not None:
        return fitted
    law = (
        _law_beyond(count, unit, growth, alike)
        if is_exact
        else _law_of_doublings(count, -(-unit // step) * step)
    )
    # A polynomial that holds neither between its lengths nor beyond them fits by chance.
    if law is not None:
        return EmpiricalGrowth(None, step, slope, 1, law, law.longer)
    return EmpiricalGrowth(growth, 1, 0, unit, None, 4 * unit) if is_exact else None


def _fit_smooth(count: Count, unit: int, growth: Growth, alike: Alike) -> EmpiricalGrowth:
    """The growth where a polynomial holds between its lengths: steps may be longer than these."""
    law = _law_beyond(count, unit, growth, alike)
    smooth = EmpiricalGrowth(growth, 1, 0, 1, law, 4 * unit)
    if growth.law != "constant" and law is None:
        return smooth
    return _fit_padded(count, unit, *find_padding_multiple(count, unit), alike) or smooth


def _fit_padded(
    count: Count, unit: int, step: int, slope: int, alike: Alike
) -> EmpiricalGrowth | None:
    """The growth at multiples of a padding step; None without a step or an exact polynomial."""
    if step == 1:
        return None
    padded_unit, growth = _solve_at_first(count, (-(-unit // step) * step, step))
    if growth is None or growth.residual:
        return None
    law = _law_beyond(count, padded_unit, growth, alike)
    return EmpiricalGrowth(growth, step, slope, 1, law, 4 * padded_unit)


def _fit_blocks(count: Count, unit: int, alike: Alike) -> EmpiricalGrowth | None:
    """The growth at multiples of a block, between which the last block is only part of one.

    What is computed in such blocks may cost a parabola by chance at multiples of another number.
    """
    block = max(_BLOCK, 1 << (unit.bit_length() - 1))
    growth = solve_at(count, _four_multiples(block))
    if growth is None or growth.residual or not holds_at(growth, count, (5 * block, 7 * block)):
        return None
    law = _law_beyond(count, block, growth, alike)
    return EmpiricalGrowth(growth, 1, 0, block, law, 7 * block)


def find_padding_multiple(count: Count, start: int) -> tuple[int, int]:
    """The multiple that lengths are padded to, and what a token costs inside a step of it.

    Inside a step the cost is constant, or rises evenly where a part of the work is not padded. Two
    ends of steps are searched from `start` on by doubling and bisection; (1, 0) where there are
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
    """The step that a length is inside of, and the slope; (1, 0) where its ends are not found."""
    end = _end_of_step(count, inside, slope)
    next_end = None if end is None else _end_of_step(count, end + 1, slope)
    if end is None or next_end is None:
        return 1, 0
    step = next_end - end
    return (step, slope) if _is_step(count, next_end, step, slope) else (1, 0)


def _end_of_step(count: Count, inside: int, slope: int) -> int | None:
    """The last length up to which the cost rises evenly; None where it is not found."""
    first = count(inside)

    def is_even(length: int) -> bool | None:
        value = count(length)
        return (
            None if value is None or first is None else value - first == slope * (length - inside)
        )

    width = search_last(lambda width: is_even(inside + width), 1, MAX_PROBED_LENGTH - inside)
    return None if width is None else inside + width


def _is_step(count: Count, end: int, step: int, slope: int) -> bool:
    """Whether a step ends at `end` and at its double, and is `step` tokens long there."""
    if step < 2 or end % step:
        return False
    return all(_ends_step(count, last, step, slope) for last in (end, 2 * end))


def _ends_step(count: Count, last: int, step: int, slope: int) -> bool:
    """Whether the cost rises by `slope` for each of `step` tokens up to `last`, and not beyond."""
    begin, before, value, after = (count(n) for n in (last - step + 1, last - 1, last, last + 1))
    if begin is None or before is None or value is None or after is None:
        return False
    is_even = value - begin == slope * (step - 1) and value - before == slope
    return is_even and after - value != slope


def _units(lengths: Sequence[int]) -> Iterator[int]:
    """Lengths whose multiples may all run, where some modules take multiples of a block only."""
    common = math.gcd(*lengths)
    yield max(_MIN_UNIT, lengths[-1] // 4)
    yield common
    yield from (common // part for part in range(2, 17) if common % part == 0)


def _four_multiples(unit: int) -> tuple[int, int, int, int]:
    return unit, 2 * unit, 3 * unit, 4 * unit


def _solve_at_first(count: Count, units: Iterable[int]) -> tuple[int, Growth | None]:
    """The growth at four multiples of the first unit at which all four can be counted."""
    for unit in units:
        growth = solve_at(count, _four_multiples(unit))
        if growth is not None:
            return unit, growth
    return 0, None


def _law_of_doublings(count: Count, unit: int) -> DoublingLaw | None:
    """The law at doublings of `unit`, as far as they can be counted."""
    points = costs_at_multiples(count, unit, 2, max(MAX_PROBED_LENGTH, 4 * unit))
    return name_law(points) if len(points) > 1 else None


def _law_beyond(count: Count, unit: int, growth: Growth, alike: Alike) -> DoublingLaw | None:
    """The law at long lengths, where the polynomial does not hold there: windows end it."""
    if alike(unit, 4 * unit) and _holds_far(count, unit, growth):
        return None
    points = costs_at_multiples(count, unit, 2, max(MAX_PROBED_LENGTH, 4 * unit))
    if not points or points[-1][1] == growth.at(points[-1][0]):
        return None
    return name_law(points)


def _holds_far(count: Count, unit: int, growth: Growth) -> bool:
    """Whether the polynomial holds at the longest doubling, and at one on the way there.

    Only where counting takes no longer at longer lengths.
    """
    limit = max(MAX_PROBED_LENGTH, 4 * unit)
    last = unit << (limit // unit).bit_length() - 1
    return holds_at(growth, count, dict.fromkeys((min(_NEAR_UNITS * unit, last), last)))


def _exponent_of_last_two(count: Count, lengths: Sequence[int]) -> EmpiricalGrowth | None:
    counted = [(length, value) for length in lengths if (value := count(length))]
    if len(counted) < 2:
        return None
    shorter, longer = counted[-2:]
    return EmpiricalGrowth(None, 1, 0, 1, name_law([shorter, longer]), longer[0])
