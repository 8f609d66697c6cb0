"""Parts of a cost by the module and operator that they come from; layers alike as one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TypeVar

from attnprof.core.growth.polynomial import doubling_exponent

Row = TypeVar("Row")
_NUMBER = r"(?:0|[1-9]\d*)"
_INDEX = re.compile(rf"(?<![^.]){_NUMBER}(?=\.[^.]|$| )")
# No module's name has a point in it, so that no path is taken for a range.
_RANGE = re.compile(rf"(?<![^.])({_NUMBER})\.\.({_NUMBER})(?=\.|$| )")
Parts = Mapping[str, Mapping[int, int]]
"""Costs by part, by length."""

_MOST_LAYERS = 100_000


def exponent_of(costs: Mapping[int, int]) -> float:
    """The exponent of a part's growth between the longest two lengths; 0 where there are none."""
    points = [(n, cost) for n, cost in sorted(costs.items()) if cost]
    return doubling_exponent(points[-2], points[-1]) if len(points) > 1 else 0.0


def fold(parts: Mapping[str, Row]) -> dict[str, Row]:
    """Layers that follow one another with the same cost as one: `layer.0..11.query aten.addmm`."""
    alike: dict[tuple[str, str, Row], dict[int, str]] = defaultdict(dict)
    folded: dict[str, Row] = {}
    for part, row in parts.items():
        match = _INDEX.search(part)
        if match is None:
            folded[part] = row
        else:
            alike[part[: match.start()], part[match.end() :], row][int(match[0])] = part
    for (before, behind, row), found in alike.items():
        for first, last in _runs(sorted(found)):
            index = str(first) if first == last else f"{first}..{last}"
            folded[f"{before}{index}{behind}"] = row
    return folded


def fold_most_first(parts: Mapping[str, Row], weigh: Callable[[Row], float]) -> dict[str, Row]:
    """As `fold`, what weighs most with all its layers first."""
    folded = fold(parts)

    def weight(part: str) -> float:
        return weigh(folded[part]) * len(unfold({part: 0}))

    return {part: folded[part] for part in sorted(folded, key=weight, reverse=True)}


def unfold(parts: Mapping[str, Row]) -> dict[str, Row]:
    """What `fold` has been given."""
    unfolded: dict[str, Row] = {}
    for part, row in parts.items():
        match = _RANGE.search(part)
        if match is None:
            unfolded[part] = row
            continue
        if not 0 < int(match[2]) - int(match[1]) < _MOST_LAYERS:
            raise ValueError(f"{part} is no range of layers")
        for index in range(int(match[1]), int(match[2]) + 1):
            unfolded[f"{part[: match.start()]}{index}{part[match.end() :]}"] = row
    return unfolded


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
