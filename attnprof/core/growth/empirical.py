"""Growth of a cost that can only be counted: exact at all lengths where possible."""

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
"""The length in tokens up to which laws are checked, approximately."""

SameWork = Callable[[int, int], bool]
"""Whether counting ran equally many operators at two lengths."""

_BLOCK = 128
"""Kernels compute in blocks of this many tokens, or of another power of two."""

_MIN_UNIT = 8
"""Multiples of fewer tokens leave no lengths between them to check at."""

_NEAR_UNITS = 64
"""The nearer of the two lengths at which a polynomial is checked, in units: far enough for memory
that grows quadratically to show."""


@dataclass(frozen=True, slots=True)
class EmpiricalGrowth:
    """How a cost grows, from counts at some lengths.

    Attributes:
        growth: the exact polynomial at multiples of `step` and of `multiple`; None if there is
            none.
        step: the multiple in tokens to which lengths are padded, at least in a part of the work;
            1 without padding.
        unpadded_slope: the cost of each further token within a step, from the part of the work
            that is not padded.
        multiple: the polynomial was checked at multiples of this many tokens only; 1 if it holds
            between them too.
        law: the law at lengths of millions of tokens, if no polynomial holds there.
        longest: the longest length in tokens from which the polynomial was solved.
    """

    growth: Growth | None
    step: int
    unpadded_slope: int
    multiple: int
    law: DoublingLaw | None
    longest: int

    @property
    def is_known_everywhere(self) -> bool:
        """Whether `cost` is exact at any length."""
        return self.growth is not None and self.multiple == 1 and self.law is None

    def cost(self, seq_len: int) -> Fraction:
        """The cost at a length in tokens; only valid if `is_known_everywhere`."""
        assert self.growth is not None
        padded = -(-seq_len // self.step) * self.step
        return self.growth.at(padded) - self.unpadded_slope * (padded - seq_len)


def fit_growth(
    count: Count, lengths: Sequence[int], alike: SameWork = lambda shorter, longer: False
) -> EmpiricalGrowth | None:
    """The growth of a cost from counts: a polynomial, steps of padding, or a law over doublings.

    Args:
        count: the cost; it is called for about 50 lengths at most.
        lengths: some lengths in tokens at which it can be counted, ascending.
        alike: whether counting ran equally many operators at two lengths that were counted.

    Returns:
        None if it can be counted at fewer than two lengths.
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
    # A polynomial that holds neither between its lengths nor beyond them matches by chance.
    if law is not None:
        return EmpiricalGrowth(None, step, slope, 1, law, law.longer)
    return EmpiricalGrowth(growth, 1, 0, unit, None, 4 * unit) if is_exact else None


def _fit_smooth(count: Count, unit: int, growth: Growth, alike: SameWork) -> EmpiricalGrowth:
    """The growth if a polynomial holds between its lengths; padding steps may be longer still."""
    law = _law_beyond(count, unit, growth, alike)
    smooth = EmpiricalGrowth(growth, 1, 0, 1, law, 4 * unit)
    if growth.law != "constant" and law is None:
        return smooth
    return _fit_padded(count, unit, *find_padding_multiple(count, unit), alike) or smooth


def _fit_padded(
    count: Count, unit: int, step: int, slope: int, alike: SameWork
) -> EmpiricalGrowth | None:
    """The growth at multiples of a padding step; None without padding or an exact polynomial."""
    if step == 1:
        return None
    padded_unit, growth = _solve_at_first(count, (-(-unit // step) * step, step))
    if growth is None or growth.residual:
        return None
    law = _law_beyond(count, padded_unit, growth, alike)
    return EmpiricalGrowth(growth, step, slope, 1, law, 4 * padded_unit)


def _fit_blocks(count: Count, unit: int, alike: SameWork) -> EmpiricalGrowth | None:
    """The growth at multiples of a block of tokens; at other lengths the last block is partial.

    At multiples of another number, costs of work in blocks may lie on a parabola by chance.
    """
    block = max(_BLOCK, 1 << (unit.bit_length() - 1))
    growth = solve_at(count, _four_multiples(block))
    if growth is None or growth.residual or not holds_at(growth, count, (5 * block, 7 * block)):
        return None
    law = _law_beyond(count, block, growth, alike)
    return EmpiricalGrowth(growth, 1, 0, block, law, 7 * block)


def find_padding_multiple(count: Count, start: int) -> tuple[int, int]:
    """The multiple to which lengths are padded, and the cost of a token within a step of it.

    Within a step the cost is constant, or linear if a part of the work is not padded. Two ends of
    steps are searched upwards from `start`, by doubling and bisection; (1, 0) if there are none.
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
        # With steps of two tokens, no two neighbouring slopes are equal.
        if slopes[index] == slopes[index + 2]:
            end = start + index + 1
            if _is_step(count, end, 2, slopes[index]):
                return 2, slopes[index]
    return 1, 0


def _step_from(count: Count, inside: int, slope: int) -> tuple[int, int]:
    """The step that contains a length, and the slope; (1, 0) if its ends are not found."""
    end = _end_of_step(count, inside, slope)
    next_end = None if end is None else _end_of_step(count, end + 1, slope)
    if end is None or next_end is None:
        return 1, 0
    step = next_end - end
    return (step, slope) if _is_step(count, next_end, step, slope) else (1, 0)


def _end_of_step(count: Count, inside: int, slope: int) -> int | None:
    """The last length up to which the cost is linear with that slope; None if it is not found."""
    first = count(inside)

    def is_linear(length: int) -> bool | None:
        value = count(length)
        if value is None or first is None:
            return None
        return value - first == slope * (length - inside)

    width = search_last(lambda width: is_linear(inside + width), 1, MAX_PROBED_LENGTH - inside)
    return None if width is None else inside + width


def _is_step(count: Count, end: int, step: int, slope: int) -> bool:
    """Whether steps of `step` tokens end at `end` and at twice that length."""
    if step < 2 or end % step:
        return False
    return all(_ends_step(count, last, step, slope) for last in (end, 2 * end))


def _ends_step(count: Count, last: int, step: int, slope: int) -> bool:
    """Whether the cost rises by `slope` for each of `step` tokens up to `last`, but not beyond."""
    begin, before, value, after = (count(n) for n in (last - step + 1, last - 1, last, last + 1))
    if begin is None or before is None or value is None or after is None:
        return False
    is_linear = value - begin == slope * (step - 1) and value - before == slope
    return is_linear and after - value != slope


def _units(lengths: Sequence[int]) -> Iterator[int]:
    """Candidate units in tokens whose multiples may all run: some modules need whole blocks."""
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
    """The law at doublings of `unit`, up to the longest that can be counted."""
    points = costs_at_multiples(count, unit, 2, max(MAX_PROBED_LENGTH, 4 * unit))
    return name_law(points) if len(points) > 1 else None


def _law_beyond(count: Count, unit: int, growth: Growth, alike: SameWork) -> DoublingLaw | None:
    """The law at long lengths; None if the polynomial holds there too.

    It does not, for example, if the shorter lengths are within one window.
    """
    if alike(unit, 4 * unit) and _holds_far(count, unit, growth):
        return None
    points = costs_at_multiples(count, unit, 2, max(MAX_PROBED_LENGTH, 4 * unit))
    if not points or points[-1][1] == growth.at(points[-1][0]):
        return None
    return name_law(points)


def _holds_far(count: Count, unit: int, growth: Growth) -> bool:
    """Whether the polynomial holds at the longest doubling of `unit` and at a nearer one.

    To be called only if counting takes no longer at longer lengths.
    """
    limit = max(MAX_PROBED_LENGTH, 4 * unit)
    last = unit << (limit // unit).bit_length() - 1
    return holds_at(growth, count, dict.fromkeys((min(_NEAR_UNITS * unit, last), last)))


def _exponent_of_last_two(count: Count, lengths: Sequence[int]) -> EmpiricalGrowth | None:
    """The exponent between the last two lengths that can be counted; None if there are not two."""
    counted = [(length, value) for length in lengths if (value := count(length))]
    if len(counted) < 2:
        return None
    shorter, longer = counted[-2:]
    return EmpiricalGrowth(None, 1, 0, 1, name_law([shorter, longer]), longer[0])
