"""How a cost grows with length: as a polynomial, solved in exact arithmetic, or as another law."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

Cost = Callable[[int], int | Fraction]
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

    def at(self, seq_len: int) -> Fraction:
        """The polynomial's value."""
        return self.c0 + self.c1 * seq_len + self.c2 * seq_len**2

    @property
    def law(self) -> str:
        """`n²`, `n` or `constant`: the highest power with a coefficient."""
        return "n²" if self.c2 else "n" if self.c1 else "constant"

    def shares(self, seq_len: int) -> dict[str, Fraction]:
        """What each term that there is makes up of the cost at `seq_len`; together 1.

        A negative term has a negative share.
        """
        terms = {"n²": self.c2 * seq_len**2, "n": self.c1 * seq_len, "constant": self.c0}
        cost = self.at(seq_len)
        return {name: term / cost for name, term in terms.items() if term and cost}

    @property
    def quadratic_overtakes_at(self) -> int | None:
        """The first length at which c2 n^2 is more than c1 n; None unless there are both."""
        if self.c1 <= 0 or self.c2 <= 0:
            return None
        return math.floor(self.c1 / self.c2) + 1


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


@dataclass(frozen=True, slots=True)
class Law:
    """How a cost grows over doublings of the length.

    Attributes:
        name: such as `n·log n`; empty where none is recognised.
        exponent: where there is no name, k of n^k.
        is_settled: whether k is that of all but the linear part, the same at the last two
            doublings; else it is that of the whole cost at the last doubling.
        shorter: the length at which the last doubling begins.
        longer: the length at which it ends.
    """

    name: str
    exponent: float
    is_settled: bool
    shorter: int
    longer: int


_POWERS = {"n·log n": 1.0, "n·sqrt n": 1.5, "n²": 2.0, "n²·sqrt n": 2.5, "n³": 3.0}
"""Exponents of what a law leaves once its linear part is taken out: of n log n that is n."""

_LOGARITHMS = {"n·log² n": 1, "n²·log n": 2}
"""Exponents of what is left once the linear part, and then that power, is taken out."""

_NEAR = 0.025
"""Exponents this near to a law's are its own: blocks of about sqrt n tokens, at lengths of
millions, move them by less, and n log² n is farther from n log n than twice that."""

_SETTLED = 0.005

_KEPT_UP = 0.75
"""What is left has to grow by so much of a law's exponent over all doublings, to be that law's."""


def name_law(points: Sequence[tuple[int, int]], ratio: int = 2) -> Law:
    """The law that the costs at doublings of a length follow, or at other multiples.

    f(2n) - 2 f(n) takes out a linear part exactly, as projections are, however large; the
    exponents of what is left tell the law. It is named only where the last two agree with it.
    What is done at every second doubling, as in a transform of radix 4, is told by fourfolds.

    Args:
        points: (length, cost), two or more, each length twice the one before, or `ratio` times;
            costs above 0.
        ratio: of each length to the one before.
    """
    shorter, longer = points[-2], points[-1]
    name, settled = "", None
    for stride in (1, 2):
        costs = [cost for _, cost in points[::-1][::stride]][::-1]
        name, exponent = _recognised(costs, ratio**stride)
        settled = exponent if settled is None else settled
        if name:
            break
    whole = doubling_exponent(shorter, longer)
    exponent = whole if settled is None else settled
    return Law(name, exponent, settled is not None, shorter[0], longer[0])


def _recognised(costs: Sequence[int], factor: int) -> tuple[str, float | None]:
    """The law's name, or the exponent that the last two doublings agree upon, or neither."""
    if len(costs) < 4:
        return "", None
    if len(set(costs[-3:])) == 1:
        return "constant", None
    rest = _without(costs, factor)
    if rest[-1] == rest[-2]:  # the last three are on a line, however far above zero it begins
        return "n", None
    exponents = _last_exponents(rest, factor)
    overall = _overall_exponent(rest, factor)
    for name, power in _POWERS.items():
        if _agree(exponents, power) and overall > _KEPT_UP * power:
            return name, None
    for name, power in _LOGARITHMS.items():
        if _agree(_last_exponents(_without(rest, factor**power), factor), power):
            return name, None
    if _agree(_last_exponents(costs, factor), 1) and overall < _KEPT_UP:
        return "n", None
    is_settled = len(exponents) == 2 and abs(exponents[1] - exponents[0]) <= _SETTLED
    is_power = is_settled and exponents[1] > 1 + 2 * _NEAR and overall > _KEPT_UP * exponents[1]
    return "", exponents[1] if is_power else None


def _without(costs: Sequence[int], ratio: int) -> list[int]:
    """What is left of costs once the part that grows by `ratio` at each step is taken out."""
    return [after - ratio * before for before, after in pairwise(costs)]


def _last_exponents(costs: Sequence[int], factor: int) -> list[float]:
    """The last two, or none where a cost is not above 0."""
    last = costs[-3:]
    if len(last) < 3 or min(last) <= 0:
        return []
    return [math.log(after / before) / math.log(factor) for before, after in pairwise(last)]


def _agree(exponents: Sequence[float], power: float) -> bool:
    return bool(exponents) and all(abs(exponent - power) <= _NEAR for exponent in exponents)


def _overall_exponent(rest: Sequence[int], factor: int) -> float:
    """The exponent from the greatest of the first half to the greatest of the last two.

    Ripples of tiles stay as they are, and may by chance look like any law over two doublings.
    """
    half = len(rest) // 2
    early, late = max(map(abs, rest[:half])), max(map(abs, rest[-2:]))
    if not (early and late):
        return math.inf if late else -math.inf
    return math.log(late / early) / math.log(factor) / (len(rest) - half)
