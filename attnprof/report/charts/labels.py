"""Positions of labels in a chart: pure geometry, in pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_POINTS_PER_LINE = 120
_LINE_COST = 8.0
"""A point of a line under a label is as bad as this distance from the label's own point."""

_GRID = 24
"""Rows and columns of the places that are tried for a label."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, from its lower left to its upper right corner."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: Box) -> bool:
        """Whether two rectangles have a point in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def nearest(self, point: tuple[float, float]) -> tuple[float, float]:
        """The point of the rectangle that is nearest to another point."""
        x, y = point
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)

    def contains(self, points: NDArray[np.float64]) -> int:
        """How many of some points `(count, 2)` are inside."""
        x, y = points[:, 0], points[:, 1]
        inside = (self.left <= x) & (x <= self.right) & (self.bottom <= y) & (y <= self.top)
        return int(inside.sum())


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


def widest_gap(
    marks: Sequence[float], limits: tuple[float, float], gap: float
) -> tuple[float, float]:
    """The widest interval between marks on a line, `gap` away from each of them."""
    lefts = [limits[0], *(mark + gap for mark in marks)]
    rights = [*(mark - gap for mark in marks), limits[1]]
    return max(zip(lefts, rights, strict=True), key=lambda ends: ends[1] - ends[0])


def free_box(
    anchor: tuple[float, float],
    size: tuple[float, float],
    limits: Box,
    taken: Sequence[Box],
    lines: Sequence[NDArray[np.float64]],
) -> Box | None:
    """The place for a label near a point: off all other labels, and off lines where that is near.

    Args:
        anchor: the point that the label belongs to.
        size: width and height of the label.
        limits: it stays inside.
        taken: places of other labels.
        lines: resampled lines `(count, 2)`.

    Returns:
        None if no place is free of other labels.
    """
    free = [
        box
        for box in _places(anchor, size, limits)
        if not any(box.overlaps(other) for other in taken)
    ]
    if not free:
        return None
    points = np.concatenate([np.asarray([anchor], dtype=np.float64), *lines])

    def cost(box: Box) -> float:
        return _LINE_COST * box.contains(points) + _distance(box, anchor)

    return min(free, key=cost)


def _places(anchor: tuple[float, float], size: tuple[float, float], limits: Box) -> Iterator[Box]:
    """Places close around the anchor, then a grid over the limits."""
    width, height = size
    gap = 0.45 * height
    near = [
        (anchor[0] + dx * (width / 2 + gap * step), anchor[1] + dy * (height / 2 + gap * step))
        for step in (1, 2, 3)
        for dx, dy in ((0, 1), (1, 1), (1, -1), (0, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0))
    ]
    columns = np.linspace(limits.left + width / 2, limits.right - width / 2, _GRID)
    rows = np.linspace(limits.bottom + height / 2, limits.top - height / 2, _GRID)
    grid = [(float(x), float(y)) for x in columns for y in rows]
    for x, y in near + grid:
        box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        is_inside = limits.left <= box.left + 1e-6 and box.right <= limits.right + 1e-6
        if is_inside and limits.bottom <= box.bottom + 1e-6 and box.top <= limits.top + 1e-6:
            yield box


def _distance(box: Box, point: tuple[float, float]) -> float:
    """The distance from a point to a rectangle."""
    x, y = box.nearest(point)
    return float(np.hypot(x - point[0], y - point[1]))


def resample(line: ArrayLike) -> NDArray[np.float64]:
    """Points `(count, 2)` of a line, so dense that a label on the line contains some of them."""
    points = np.asarray(line, dtype=np.float64)
    steps = np.linspace(0, len(points) - 1, _POINTS_PER_LINE)
    index = np.arange(len(points))
    return np.stack([np.interp(steps, index, points[:, axis]) for axis in (0, 1)], axis=1)
