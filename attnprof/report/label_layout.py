"""Positions of labels in a chart: pure geometry, in pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_POINTS_PER_LINE = 60


def spread_labels(
    heights: Sequence[float], sizes: Sequence[float], limits: tuple[float, float]
) -> list[float]:
    """Ascending heights of labels, moved as little as necessary so that labels do not overlap.

    Labels that touch form a block, centred on the mean of their wanted heights; a block that would
    cross a limit is moved to it. All labels together must fit between the limits.

    Args:
        heights: wanted centres, ascending.
        sizes: heights of the labels.
        limits: lowest and highest edge.
    """
    blocks: list[tuple[float, list[float], list[float]]] = []
    for height, size in zip(heights, sizes, strict=True):
        blocks.append(_block([height], [size], limits))
        while len(blocks) > 1 and blocks[-2][0] + sum(blocks[-2][2]) > blocks[-1][0]:
            _, upper_wanted, upper_sizes = blocks.pop()
            _, lower_wanted, lower_sizes = blocks.pop()
            blocks.append(_block(lower_wanted + upper_wanted, lower_sizes + upper_sizes, limits))
    return [
        bottom + sum(block_sizes[:index]) + block_sizes[index] / 2
        for bottom, _, block_sizes in blocks
        for index in range(len(block_sizes))
    ]


def _block(
    wanted: list[float], sizes: list[float], limits: tuple[float, float]
) -> tuple[float, list[float], list[float]]:
    """A block: its bottom, and the wanted heights and the sizes of its labels."""
    centres = [sum(sizes[:index]) + size / 2 for index, size in enumerate(sizes)]
    bottom = sum(w - c for w, c in zip(wanted, centres, strict=True)) / len(sizes)
    return max(limits[0], min(bottom, limits[1] - sum(sizes))), wanted, sizes


def resample(line: ArrayLike) -> NDArray[np.float64]:
    """Points `(count, 2)` of a line, resampled so that distances to points are distances to it."""
    points = np.asarray(line, dtype=np.float64)
    steps = np.linspace(0, len(points) - 1, _POINTS_PER_LINE)
    index = np.arange(len(points))
    return np.stack([np.interp(steps, index, points[:, axis]) for axis in (0, 1)], axis=1)


def farthest_point(
    points: NDArray[np.float64], obstacles: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """The point of a line `(count, 2)` farthest from all obstacles, without the line's ends."""
    inner = points[len(points) // 5 : -len(points) // 10]
    distances = np.linalg.norm(inner[:, None] - np.concatenate(obstacles)[None], axis=2)
    return inner[int(distances.min(axis=1).argmax())]
