"""Laws of growth: their names and order, and which one costs at doublings of a length follow."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from attnprof.core.growth.polynomial import doubling_exponent

_POWERS = {"n·log n": 1.0, "n·sqrt n": 1.5, "n²": 2.0, "n²·sqrt n": 2.5, "n³": 3.0}
"""Exponents of what a law leaves once its linear part is taken out: of n log n that is n."""

_LOGARITHMS = {"n·log² n": 1, "n²·log n": 2}
"""Exponents of what is left once the linear part, and then that power, is taken out."""

NEAR = 0.025
"""Exponents this near to a law's are its own: blocks of about sqrt n tokens, at lengths of
millions, move them by less, and n log² n is farther from n log n than twice that."""

_SETTLED = 0.005

MIN_OVERALL_EXPONENT_SHARE = 0.75
"""What is left has to grow by so much of a law's exponent over all doublings, to be that law's."""

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


def name_law(points: Sequence[tuple[int, int]], ratio: int = 2) -> DoublingLaw:
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
        name, exponent = _match_law(costs, ratio**stride)
        settled = exponent if settled is None else settled
        if name:
            break
    whole = doubling_exponent(shorter, longer)
    exponent = whole if settled is None else settled
    return DoublingLaw(name, exponent, settled is not None, shorter[0], longer[0])


def _match_law(costs: Sequence[int], factor: int) -> tuple[str, float | None]:
    """The law's name, or the exponent that the last two doublings agree upon, or neither."""
    if len(costs) < 4:
        return "", None
    if len(set(costs[-3:])) == 1:
        return "constant", None
    rest = _remove_linear_part(costs, factor)
    if rest[-1] == rest[-2]:  # the last three are on a line, however far above zero it begins
        return "n", None
    exponents = _last_exponents(rest, factor)
    overall = _overall_exponent(rest, factor)
    for name, power in _POWERS.items():
        if _exponents_match(exponents, power) and overall > MIN_OVERALL_EXPONENT_SHARE * power:
            return name, None
    for name, power in _LOGARITHMS.items():
        if _exponents_match(
            _last_exponents(_remove_linear_part(rest, factor**power), factor), power
        ):
            return name, None
    if _exponents_match(_last_exponents(costs, factor), 1) and overall < MIN_OVERALL_EXPONENT_SHARE:
        return "n", None
    is_settled = len(exponents) == 2 and abs(exponents[1] - exponents[0]) <= _SETTLED
    is_power = (
        is_settled
        and exponents[1] > 1 + 2 * NEAR
        and overall > MIN_OVERALL_EXPONENT_SHARE * exponents[1]
    )
    return "", exponents[1] if is_power else None


def _remove_linear_part(costs: Sequence[int], ratio: int) -> list[int]:
    """What is left of costs once the part that grows by `ratio` at each step is taken out."""
    return [after - ratio * before for before, after in pairwise(costs)]


def _last_exponents(costs: Sequence[int], factor: int) -> list[float]:
    """The last two, or none where a cost is not above 0."""
    last = costs[-3:]
    if len(last) < 3 or min(last) <= 0:
        return []
    return [math.log(after / before) / math.log(factor) for before, after in pairwise(last)]


def _exponents_match(exponents: Sequence[float], power: float) -> bool:
    return bool(exponents) and all(abs(exponent - power) <= NEAR for exponent in exponents)


def _overall_exponent(rest: Sequence[int], factor: int) -> float:
    """The exponent from the greatest of the first half to the greatest of the last two.

    Ripples of tiles stay as they are, and may by chance look like any law over two doublings.
    """
    half = len(rest) // 2
    early, late = max(map(abs, rest[:half])), max(map(abs, rest[-2:]))
    if not (early and late):
        return math.inf if late else -math.inf
    return math.log(late / early) / math.log(factor) / (len(rest) - half)


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
