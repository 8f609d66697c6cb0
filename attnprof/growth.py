"""How a cost grows with length, in exact arithmetic, and from where on it is below another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

Cost = Callable[[int], int]
"""A cost as a function of the length in tokens."""


@dataclass(frozen=True, slots=True)
class Growth:
    """A cost c0 + c1 n + c2 n^2, solved from three lengths and checked at a fourth.

    Attributes:
        c0: constant term.
        c1: coefficient of n.
        c2: coefficient of n^2.
        residual: what the polynomial leaves at the check length; 0 where the law holds exactly.
    """

    c0: Fraction
    c1: Fraction
    c2: Fraction
    residual: Fraction

    @property
    def law(self) -> str:
        """`n²`, `n` or `constant`: the highest power with a coefficient."""
        return "n²" if self.c2 else "n" if self.c1 else "constant"

    def quadratic_share(self, seq_len: int) -> float:
        """The part of the cost at `seq_len` that the n^2 term makes up, 0 to 1."""
        cost = self.c0 + self.c1 * seq_len + self.c2 * seq_len**2
        return float(self.c2 * seq_len**2 / cost)

    @property
    def quadratic_overtakes_at(self) -> int | None:
        """The first length at which c2 n^2 is more than c1 n; None without an n^2 term."""
        return math.floor(self.c1 / self.c2) + 1 if self.c2 > 0 else None


def solve_growth(cost: Cost, lengths: Sequence[int]) -> Growth:
    """Solve the growth of an integer cost from its values at four different lengths.

    Newton's divided differences on the first three; the fourth checks.

    Raises:
        ValueError: when `lengths` are not four different lengths.
    """
    if len(set(lengths)) != 4 or len(lengths) != 4:
        raise ValueError(f"growth is solved from four different lengths, not {tuple(lengths)}")
    (x0, x1, x2, check), (y0, y1, y2, checked) = lengths, [cost(length) for length in lengths]
    slope = Fraction(y1 - y0, x1 - x0)
    next_slope = Fraction(y2 - y1, x2 - x1)
    c2 = (next_slope - slope) / (x2 - x0)
    c1 = slope - c2 * (x0 + x1)
    c0 = y0 - c1 * x0 - c2 * x0**2
    return Growth(c0, c1, c2, checked - (c0 + c1 * check + c2 * check**2))


def doubling_exponent(shorter: tuple[int, int], longer: tuple[int, int]) -> float:
    """The exponent k of cost ~ n^k between two (length, cost) points: 1 is linear, 2 quadratic."""
    (x0, y0), (x1, y1) = shorter, longer
    return math.log(y1 / y0) / math.log(x1 / x0)


def pays_from(cost: Cost, reference: Cost, step: int, longest: int) -> int | None:
    """The first length from which `cost` is below `reference` up to `longest`; None if none is.

    `step` is the multiple to which `cost` pads its lengths, 1 if it pads none: inside a step `cost`
    is constant. `reference` must rise with length. Where the two differ by a function that is
    concave in the steps, as a linear cost and a quadratic one do, the answer is exact; so it is
    with ripples upon that, as tiles make them, of fewer than `_RIPPLE` steps.
    """

    def pays(length: int) -> bool:
        return cost(length) < reference(length)

    def first_of(index: int) -> int:
        return index * step + 1

    steps = -(-longest // step)
    probes = sorted({*range(min(steps, _DENSE_PROBES)), *_geometric(steps), steps - 1})
    failing = next((i for i in reversed(probes) if not pays(first_of(i))), None)
    if failing is None:
        return 1
    after = next((i for i in probes if i > failing), None)
    last_failing = failing
    if after is not None:
        last_failing = _bisect(failing, after, lambda index: pays(first_of(index))) - 1
    ripple = range(min(last_failing + _RIPPLE, steps - 1), last_failing, -1)
    last_failing = next((i for i in ripple if not pays(first_of(i))), last_failing)
    low, high = first_of(last_failing), min(first_of(last_failing + 1), longest)
    return _bisect(low, high, pays) if pays(high) else None


_DENSE_PROBES = 64
_RIPPLE = 64


def _geometric(stop: int) -> list[int]:
    probes = [1]
    while probes[-1] < stop:
        probes.append(probes[-1] + max(1, probes[-1] // 8))
    return [probe for probe in probes if probe < stop]


def _bisect(failing: int, holding: int, holds: Callable[[int], bool]) -> int:
    """The smallest value after `failing` at which `holds` is true, it being true at `holding`."""
    while holding - failing > 1:
        middle = (failing + holding) // 2
        failing, holding = (failing, middle) if holds(middle) else (middle, holding)
    return holding


def measured_crossing(ratios: Sequence[tuple[int, float]]) -> tuple[int, int] | None:
    """The neighbouring measured lengths between which a ratio falls below 1 for good.

    `ratios` are (length, cost in units of the reference) in ascending lengths. Returns (0, first)
    where all are below 1, None where the last is not.
    """
    if not ratios or ratios[-1][1] >= 1:
        return None
    above = [index for index, (_, ratio) in enumerate(ratios) if ratio >= 1]
    if not above:
        return 0, ratios[0][0]
    return ratios[above[-1]][0], ratios[above[-1] + 1][0]
