"""Parts of a cost by the module and operator that they come from; layers alike as one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import TypeVar

Row = TypeVar("Row")
_INDEX = re.compile(r"(?<![^.])\d+(?=\.|$| )")
_RANGE = re.compile(r"(?<![^.])(\d+)-(\d+)(?=\.|$| )")


def fold(parts: Mapping[str, Row]) -> dict[str, Row]:
    """Layers that follow one another with the same cost as one: `layer.0-11.query aten.addmm`."""
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
            index = str(first) if first == last else f"{first}-{last}"
            folded[f"{before}{index}{behind}"] = row
    return folded


def unfold(parts: Mapping[str, Row]) -> dict[str, Row]:
    """What `fold` has been given."""
    unfolded: dict[str, Row] = {}
    for part, row in parts.items():
        match = _RANGE.search(part)
        if match is None:
            unfolded[part] = row
            continue
        if int(match[2]) - int(match[1]) > _MOST_LAYERS:
            raise ValueError(f"{part} is no range of layers")
        for index in range(int(match[1]), int(match[2]) + 1):
            unfolded[f"{part[: match.start()]}{index}{part[match.end() :]}"] = row
    return unfolded


_MOST_LAYERS = 100_000


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
