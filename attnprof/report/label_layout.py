"""Where labels go in a picture: pure geometry, in pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_POINTS_OF_A_LINE = 60


def spread_labels(
    heights: Sequence[float], sizes: Sequence[float], limits: tuple[float, float]
) -> list[float]:
    """Ascending heights moved as little as it takes for labels of these sizes not to overlap.

    Labels that touch form a block around the mean of where its labels want to be; a block that
    would cross a limit is moved to it. All labels together must fit between the limits.
    """
    blocks: list[tuple[float, list[float], list[float]]] = []
    for height, size in zip(heights, sizes, strict=True):
        blocks.append(_block([height], [size], limits))
        while len(blocks) > 1 and blocks[-2][0] + sum(blocks[-2][2]) > blocks[-1][0]:
            _, upper_wanted, upper_sizes = blocks.pop()
            _, wanted, own = blocks.pop()
            blocks.append(_block(wanted + upper_wanted, own + upper_sizes, limits))
    return [
        bottom + sum(own[:index]) + own[index] / 2
        for bottom, _, own in blocks
        for index in range(len(own))
    ]


def _block(
    wanted: list[float], sizes: list[float], limits: tuple[float, float]
) -> tuple[float, list[float], list[float]]:
    """The bottom of labels stacked around the mean of the heights they want; these; their sizes."""
    centres = [sum(sizes[:index]) + size / 2 for index, size in enumerate(sizes)]
    bottom = sum(w - c for w, c in zip(wanted, centres, strict=True)) / len(sizes)
    return max(limits[0], min(bottom, limits[1] - sum(sizes))), wanted, sizes


def resample(line: ArrayLike) -> NDArray[np.float64]:
    """A line's points `(count, 2)` with many between each two: distances to them are to it."""
    points = np.asarray(line, dtype=np.float64)
    steps = np.linspace(0, len(points) - 1, _POINTS_OF_A_LINE)
    index = np.arange(len(points))
    return np.stack([np.interp(steps, index, points[:, axis]) for axis in (0, 1)], axis=1)


def farthest_point(
    places: NDArray[np.float64], obstacles: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Of places along a line, the one farthest from all obstacles; the line's ends do not count."""
    inner = places[len(places) // 5 : -len(places) // 10]
    distances = np.linalg.norm(inner[:, None] - np.concatenate(obstacles)[None], axis=2)
    return inner[int(distances.min(axis=1).argmax())]
