"""Laws of growth by their names, in the order of how fast they grow."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

NEAR = 0.025
"""A measured exponent this near to an allowed one does not exceed it: blocks move it by less."""


@dataclass(frozen=True, slots=True, order=True)
class GrowthLaw:
    """n^exponent · log^logarithms n.

    Attributes:
        exponent: of n; 0 is constant.
        logarithms: how many factors of log n.
    """

    exponent: float
    logarithms: int = 0

    def __str__(self) -> str:
        if (self.exponent, self.logarithms) in _NAMES:
            return _NAMES[self.exponent, self.logarithms]
        return f"n^{self.exponent:g}" + " log n" * self.logarithms

    def allows(self, other: GrowthLaw, longest: int) -> bool:
        """Whether the other grows no faster, seen at lengths up to `longest` tokens."""
        if other <= self:
            return True
        slack = NEAR + self.logarithms / math.log(max(longest, 16))
        is_named = (other.exponent, other.logarithms) in _NAMES
        return not is_named and other.exponent <= self.exponent + slack


_NAMES = {
    (0.0, 0): "constant",
    (1.0, 0): "linear",
    (1.0, 1): "n log n",
    (1.0, 2): "n log² n",
    (1.5, 0): "n sqrt n",
    (2.0, 0): "quadratic",
    (2.0, 1): "n² log n",
    (2.5, 0): "n² sqrt n",
    (3.0, 0): "cubic",
}
_WORDS = {name: law for law, name in _NAMES.items()} | {
    "n": (1.0, 0),
    "n²": (2.0, 0),
    "n³": (3.0, 0),
}
_POWER = re.compile(r"n\^(\d+(?:\.\d+)?)")
LAW_FORMS = 'constant, linear, n log n, quadratic, or a power such as "n^1.5"'


def parse_law(text: str) -> GrowthLaw:
    """A law from its name: `linear`, `n log n`, `n·sqrt n`, `n^1.5`.

    Raises:
        ValueError: for what is no law.
    """
    word = " ".join(text.replace("·", " ").split())
    if word in _WORDS:
        return GrowthLaw(*_WORDS[word])
    match = _POWER.fullmatch(word)
    if not match or float(match[1]) > 9:
        raise ValueError(text)
    return GrowthLaw(float(match[1]))
