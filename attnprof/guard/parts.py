"""Parts of a cost, by the module and operator that they come from.

A part of the MACs or the calls is named `module operator`, one of the peak bytes `module operator
dtype`, one of the parameters `module`; the outermost module has no name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from attnprof.core.growth.polynomial import doubling_exponent
from attnprof.core.workload import DTYPE_BYTES

Row = TypeVar("Row")
Parts = Mapping[str, Mapping[int, int]]
"""Costs by part and length."""

_NUMBER = r"(?:0|[1-9]\d*)"
_INDEX = re.compile(rf"(?<![^.]){_NUMBER}(?=\.[^.]|$| )")
# A module's name has no dot in it, so no path can be mistaken for a range of layers.
_RANGE = re.compile(rf"(?<![^.])({_NUMBER})\.\.({_NUMBER})(?=\.|$| )")

_MAX_LAYERS = 100_000

_BAND = "banded_attention"
_FUSED = ("scaled_dot_product", "flex_attention", _BAND)
_PRODUCTS = ("aten.bmm", "aten.baddbmm", "aten.mm", "aten.matmul")

_MIN_QUADRATIC = 1.7
"""The exponent above which a part is quadratic, between the two longest lengths."""

_DTYPE_SIZES: Mapping[str, int] = {**DTYPE_BYTES}
"""Bytes of an element, by the name of its type."""


def module_of(part: str) -> str:
    """The module of `module operator`; empty for the outermost one."""
    return part.rpartition(" ")[0]


def operator_of(part: str) -> str:
    """The operator of `module operator`."""
    return part.rpartition(" ")[2]


def origin_of(part: str) -> str:
    """`module operator` of `module operator dtype`."""
    return part.rpartition(" ")[0]


def dtype_of(part: str) -> str:
    """The element type of `module operator dtype`."""
    return part.rpartition(" ")[2]


def dtype_size(part: str) -> int:
    """Bytes of an element of `module operator dtype`; 0 for types that no workload has."""
    return _DTYPE_SIZES.get(dtype_of(part), 0)


def is_fused(part: str) -> bool:
    """Whether the operator is fused attention."""
    return any(name in part for name in _FUSED)


def is_product(part: str) -> bool:
    """Whether the operator of `module operator` is a plain matrix product."""
    return operator_of(part) in _PRODUCTS


def is_pairwise(part: str) -> bool:
    """Whether the operator of `module operator` may multiply queries by keys."""
    return is_product(part) or is_fused(part)


def banded_modules(parts: Iterable[str]) -> set[str]:
    """The modules of parts `module operator` that compute banded attention."""
    return {module_of(part) for part in parts if _BAND in part}


def exponent_of(costs: Mapping[int, int]) -> float:
    """The exponent of a part's growth between its two longest lengths; 0 for fewer than two."""
    points = [(n, cost) for n, cost in sorted(costs.items()) if cost]
    return doubling_exponent(points[-2], points[-1]) if len(points) > 1 else 0.0


def is_quadratic(costs: Mapping[int, int]) -> bool:
    """Whether a part grows about as n² between its two longest lengths."""
    return exponent_of(costs) > _MIN_QUADRATIC


def fold(parts: Mapping[str, Row]) -> dict[str, Row]:
    """Merge consecutive layers of equal cost into one part: `layer.0..11.query aten.addmm`."""
    layers: dict[tuple[str, str, Row], list[int]] = defaultdict(list)
    folded: dict[str, Row] = {}
    for part, row in parts.items():
        match = _INDEX.search(part)
        if match is None:
            folded[part] = row
        else:
            layers[part[: match.start()], part[match.end() :], row].append(int(match[0]))
    for (prefix, suffix, row), indices in layers.items():
        for first, last in _runs(sorted(indices)):
            index = str(first) if first == last else f"{first}..{last}"
            folded[f"{prefix}{index}{suffix}"] = row
    return folded


def fold_most_first(parts: Mapping[str, Row], weigh: Callable[[Row], float]) -> dict[str, Row]:
    """Fold the parts and sort them by weight times number of layers, the largest first."""
    folded = fold(parts)

    def weight(part: str) -> float:
        return weigh(folded[part]) * len(unfold({part: 0}))

    return {part: folded[part] for part in sorted(folded, key=weight, reverse=True)}


def unfold(parts: Mapping[str, Row]) -> dict[str, Row]:
    """Undo `fold`.

    Raises:
        ValueError: for a range of layers that is reversed, empty or too long.
    """
    unfolded: dict[str, Row] = {}
    for part, row in parts.items():
        match = _RANGE.search(part)
        if match is None:
            unfolded[part] = row
            continue
        if not 0 < int(match[2]) - int(match[1]) < _MAX_LAYERS:
            raise ValueError(f"{part} is not a valid range of layers")
        for index in range(int(match[1]), int(match[2]) + 1):
            unfolded[f"{part[: match.start()]}{index}{part[match.end() :]}"] = row
    return unfolded


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """First and last of each run of consecutive numbers in a sorted list."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
