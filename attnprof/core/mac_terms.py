"""`MacTerm`: one product in a closed form of MACs, with its factors by symbol and by number."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Part = Literal[
    "projections", "scores", "context", "global_tokens", "output_projection", "feed_forward"
]
"""What a term computes; `global_tokens` is all that only global tokens need, their projections
included."""

_EXPONENTS = {1: "", 2: "²", 3: "³"}


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor of a term.

    Attributes:
        symbol: as in a formula, such as `D`; empty for a number that has no symbol.
        base: its value, before the exponent.
        exponent: 1, 2 or 3.
    """

    symbol: str
    base: int
    exponent: int = 1

    @property
    def value(self) -> int:
        """The base to the power of the exponent."""
        return self.base**self.exponent

    @property
    def formula(self) -> str:
        """The factor with its symbol: `D²`."""
        return f"{self.symbol or self.base}{_EXPONENTS[self.exponent]}"

    @property
    def number(self) -> str:
        """The factor with its number: `768²`."""
        return f"{self.base:,}{_EXPONENTS[self.exponent]}"


@dataclass(frozen=True, slots=True)
class MacTerm:
    """MACs of one kind of work in a call, as a product of integers.

    Attributes:
        part: the kind of work, as charts group it.
        name: what is computed, in words.
        factors: their product is the number of MACs.
    """

    part: Part
    name: str
    factors: tuple[Factor, ...]

    @property
    def macs(self) -> int:
        """The product of the factors."""
        return math.prod(factor.value for factor in self.factors)

    @property
    def formula(self) -> str:
        """The product in symbols: `3·b·n·D²`."""
        return "·".join(factor.formula for factor in self.factors)

    @property
    def numbers(self) -> str:
        """The product in numbers: `3 · 1 · 4,096 · 768²`."""
        return " · ".join(factor.number for factor in self.factors)


def total_macs(terms: Iterable[MacTerm]) -> int:
    """MACs of all terms together."""
    return sum(term.macs for term in terms)
