"""Growth laws such as n log n: their names and order, and the law that measured costs follow."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from attnprof.core.growth.polynomial import doubling_exponent

_POWERS = {"n·log n": 1.0, "n·sqrt n": 1.5, "n²": 2.0, "n²·sqrt n": 2.5, "n³": 3.0}
"""Exponent of each law once its linear part is removed: n log n leaves n."""

_LOGARITHMS = {"n·log² n": 1, "n²·log n": 2}
"""Exponent that remains once the linear part, and then a term of that power, are removed."""

NEAR = 0.025
"""Tolerance of exponents. Blocks of about sqrt n tokens, at lengths of millions, shift them by
less, and n log² n differs from n log n by more than twice that."""

_SETTLED = 0.005
"""Exponents of two doublings that differ by no more than this have converged."""

MIN_OVERALL_EXPONENT_SHARE = 0.75
"""A law is named only if the remainder grows over all doublings with at least this share of the
law's exponent."""

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


@dataclass(frozen=True, slots=True)
class DoublingLaw:
    """How a cost grows over doublings of the length.

    Attributes:
        name: such as `n·log n`; empty if no law was recognised.
        exponent: k of n^k, for a law without a name.
        is_settled: whether k is the exponent of the cost without its linear part, the same at the
            last two doublings; otherwise it is that of the total cost at the last doubling.
        shorter: the length in tokens at which the last doubling begins.
        longer: the length in tokens at which it ends.
    """

    name: str
    exponent: float
    is_settled: bool
    shorter: int
    longer: int


def name_law(points: Sequence[tuple[int, int]], ratio: int = 2) -> DoublingLaw:
    """The law that costs follow at doublings of a length, or at powers of another ratio.

    f(2n) - 2 f(n) removes a linear part exactly, such as that of projections, however large it is;
    the exponents of the remainder identify the law. It is named only if the last two agree with
    it. If doublings match no law, every second point is tried: a radix-4 FFT, for example, takes
    a step at every second doubling.

    Args:
        points: (length in tokens, cost), two or more; each length is `ratio` times the one before,
            and costs are above 0.
        ratio: of each length to the one before.
    """
    shorter, longer = points[-2], points[-1]
    name, settled = "", None
    for stride in (1, 2):
        costs = [cost for _, cost in points[::-1][::stride]][::-1]
        name, exponent = _match_law(costs, ratio**stride)
        settled = exponent if settled is None else settled
        if name:
            break
    last_doubling = doubling_exponent(shorter, longer)
    exponent = last_doubling if settled is None else settled
    return DoublingLaw(name, exponent, settled is not None, shorter[0], longer[0])


def _match_law(costs: Sequence[int], factor: int) -> tuple[str, float | None]:
    """The law's name, or the exponent on which the last two doublings agree, or neither.

    Args:
        costs: at lengths each `factor` times the one before.
        factor: of each length to the one before.
    """
    if len(costs) < 4:
        return "", None
    if len(set(costs[-3:])) == 1:
        return "constant", None
    remainder = _remove_linear_part(costs, factor)
    if remainder[-1] == remainder[-2]:  # the last three costs are collinear, at any offset
        return "n", None
    overall = _overall_exponent(remainder, factor)
    name = _match_power(remainder, factor, overall) or _match_logarithm(remainder, factor)
    if name:
        return name, None
    is_nearly_linear = _exponents_match(_last_exponents(costs, factor), 1)
    if is_nearly_linear and overall < MIN_OVERALL_EXPONENT_SHARE:
        return "n", None
    return "", _settled_exponent(_last_exponents(remainder, factor), overall)


def _match_power(remainder: Sequence[int], factor: int, overall: float) -> str:
    """The law whose remainder is a power of n; empty if there is none."""
    exponents = _last_exponents(remainder, factor)
    for name, power in _POWERS.items():
        if _exponents_match(exponents, power) and overall > MIN_OVERALL_EXPONENT_SHARE * power:
            return name
    return ""


def _match_logarithm(remainder: Sequence[int], factor: int) -> str:
    """The law whose remainder is a power of n times log n; empty if there is none."""
    for name, power in _LOGARITHMS.items():
        second_remainder = _remove_linear_part(remainder, factor**power)
        if _exponents_match(_last_exponents(second_remainder, factor), power):
            return name
    return ""


def _settled_exponent(exponents: Sequence[float], overall: float) -> float | None:
    """The exponent of a law without a name; None if the last two differ or it is near 1."""
    if len(exponents) != 2 or abs(exponents[1] - exponents[0]) > _SETTLED:
        return None
    exponent = exponents[1]
    is_power = exponent > 1 + 2 * NEAR and overall > MIN_OVERALL_EXPONENT_SHARE * exponent
    return exponent if is_power else None


def _remove_linear_part(costs: Sequence[int], ratio: int) -> list[int]:
    """The costs without the part that grows by `ratio` at each step."""
    return [after - ratio * before for before, after in pairwise(costs)]


def _last_exponents(costs: Sequence[int], factor: int) -> list[float]:
    """The exponents of the last two steps; empty if one of the three costs is not above 0."""
    last = costs[-3:]
    if len(last) < 3 or min(last) <= 0:
        return []
    return [math.log(after / before) / math.log(factor) for before, after in pairwise(last)]


def _exponents_match(exponents: Sequence[float], power: float) -> bool:
    return bool(exponents) and all(abs(exponent - power) <= NEAR for exponent in exponents)


def _overall_exponent(remainder: Sequence[int], factor: int) -> float:
    """The exponent from the greatest value of the first half to the greatest of the last two.

    Ripples caused by tiles do not grow, but over two doublings they may look like any law.
    """
    half = len(remainder) // 2
    early, late = max(map(abs, remainder[:half])), max(map(abs, remainder[-2:]))
    if not (early and late):
        return math.inf if late else -math.inf
    return math.log(late / early) / math.log(factor) / (len(remainder) - half)


@dataclass(frozen=True, slots=True, order=True)
class GrowthLaw:
    """n^exponent · (log n)^logarithms, ordered by how fast it grows.

    Attributes:
        exponent: of n; 0 is constant.
        logarithms: the number of factors log n.
    """

    exponent: float
    logarithms: int = 0

    def __str__(self) -> str:
        if (self.exponent, self.logarithms) in _NAMES:
            return _NAMES[self.exponent, self.logarithms]
        return f"n^{self.exponent:g}" + " log n" * self.logarithms

    def allows(self, observed: GrowthLaw, longest: int) -> bool:
        """Whether an observed law grows no faster than this one.

        Args:
            observed: a law; for one without a name, the exponent has a tolerance.
            longest: the longest length in tokens at which it was observed.
        """
        if observed <= self:
            return True
        slack = NEAR + self.logarithms / math.log(max(longest, 16))
        is_named = (observed.exponent, observed.logarithms) in _NAMES
        return not is_named and observed.exponent <= self.exponent + slack


def parse_law(text: str) -> GrowthLaw:
    """A law from its name: `linear`, `n log n`, `n·sqrt n`, `n^1.5`.

    Raises:
        ValueError: if the text is not a law.
    """
    word = " ".join(text.replace("·", " ").split())
    if word in _WORDS:
        return GrowthLaw(*_WORDS[word])
    match = _POWER.fullmatch(word)
    if not match or float(match[1]) > 9:
        raise ValueError(text)
    return GrowthLaw(float(match[1]))
