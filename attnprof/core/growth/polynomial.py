"""Growth as a polynomial of degree 2, solved in exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

Cost = Callable[[int], int | Fraction]
"""A cost as a function of the length in tokens."""


@dataclass(frozen=True, slots=True)
class Growth:
    """A cost c0 + c1 n + c2 n^2, solved from three lengths and checked at a fourth.

    Attributes:
        c0: constant term.
        c1: coefficient of n.
        c2: coefficient of n^2.
        residual: cost minus polynomial at the check length; 0 if the polynomial is exact there.
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
        """The share of each nonzero term in the cost at `seq_len`; the shares add up to 1.

        A negative term has a negative share.
        """
        terms = {"n²": self.c2 * seq_len**2, "n": self.c1 * seq_len, "constant": self.c0}
        cost = self.at(seq_len)
        return {name: term / cost for name, term in terms.items() if term and cost}

    @property
    def quadratic_dominates_from(self) -> int | None:
        """The first length at which c2 n^2 exceeds c1 n; None unless both are positive."""
        if self.c1 <= 0 or self.c2 <= 0:
            return None
        return math.floor(self.c1 / self.c2) + 1


def solve_growth(cost: Cost, lengths: Sequence[int]) -> Growth:
    """The polynomial through a cost at three lengths, checked at a fourth.

    Newton's divided differences, in exact fractions.

    Args:
        cost: the cost as a function of the length.
        lengths: four different lengths in tokens; the last one is the check.

    Raises:
        ValueError: if `lengths` are not four different lengths.
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
