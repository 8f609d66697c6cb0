"""What is written into a panel: names, break-even lengths, what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from attnprof.report.charts.axis import figure_of_axes
from attnprof.report.charts.canvas import FAINT, LINE_INCHES, MUTED, new_figure, text_size
from attnprof.report.charts.crossings import Crossing
from attnprof.report.charts.curves import Curve
from attnprof.report.charts.labels import Box, free_box, spread_labels, widest_gap
from attnprof.report.charts.names import shown_name
from attnprof.report.kernel_styles import KernelStyle

LABEL_GAP = 0.3
"""From the axes to the names of the curves, in inches."""

MARKER, CROSSING = 5.5, 7.0
"""Sizes of the marker of a point and of the ring of a break-even length."""

_KEY_GAP = 0.08
"""From the marker in front of a curve's name to the name."""

_CROSS_GAP = 0.08
"""From a cross to text beside it."""

_LEADER = 0.12
"""From a ring to its text, in inches: farther apart, a line joins them."""

_INSET = 0.05
"""From the axes to text inside them."""

_BESIDE = 1.5
"""A text is beside its point up to this distance, in heights of the text."""

_AFTER_NAMES = 0.12

_GUIDE_NAME = 0.75
"""Where along a guide its name is looked for room first."""


@dataclass(frozen=True, slots=True)
class CurveEnd:
    """The last point of a curve, in the units of the axes, with the curve's name and style."""

    label: str
    style: KernelStyle
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class PointName:
    """A text that belongs to a point, in the units of the axes."""

    text: str
    colour: str
    x: float
    y: float


def name_ends(axes: Axes, ends: Sequence[CurveEnd]) -> None:
    """Write each curve's name to the right of the axes, spread so that none overlap."""
    figure, area = figure_of_axes(axes), axes.get_window_extent()
    heights = sorted(
        (float(axes.transData.transform((end.x, end.y))[1]), index)
        for index, end in enumerate(ends)
    )
    sizes = [LINE_INCHES * figure.dpi] * len(ends)
    slack = max(0.0, sum(sizes) - area.height) / 2
    places = spread_labels(
        [height for height, _ in heights], sizes, (area.y0 - slack, area.y1 + slack)
    )
    for place, (_, index) in zip(places, heights, strict=True):
        end = ends[index]
        y = (place - area.y0) / area.height
        axes.annotate(
            shown_name(end.label),
            xy=(end.x, end.y),
            xytext=(1 + LABEL_GAP * figure.dpi / area.width, y),
            textcoords="axes fraction",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": FAINT,
                "linewidth": 0.7,
                "shrinkA": _KEY_GAP * 72,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )
        axes.plot(
            1 + (LABEL_GAP - _KEY_GAP) * figure.dpi / area.width,
            y,
            transform=axes.transAxes,
            marker=end.style.marker,
            markersize=MARKER,
            color=end.style.colour,
            clip_on=False,
        )


def names_room(labels: Sequence[str]) -> float:
    """Width that the names of curves take beside the axes, in inches."""
    figure = new_figure(1, 1)
    widths = [text_size(figure, shown_name(label))[0] for label in labels]
    return LABEL_GAP + max(widths, default=0) + _AFTER_NAMES


def mark_gaps(axes: Axes, curves: Sequence[Curve]) -> list[Box]:
    """A cross at the upper edge for each value that is missing, and why; a row for each curve.

    Returns:
        The places of the texts, in pixels.
    """
    figure, area = figure_of_axes(axes), axes.get_window_extent()
    line = LINE_INCHES * figure.dpi
    boxes: list[Box] = []
    for row, curve in enumerate(curve for curve in curves if curve.gaps):
        middle = area.y1 - (row + 0.5) * line
        crosses = [x for x, _ in curve.gaps]
        axes.plot(
            crosses,
            [(middle - area.y0) / area.height] * len(crosses),
            transform=axes.get_xaxis_transform(),
            linestyle="none",
            marker="x",
            markersize=MARKER,
            markeredgewidth=1.4,
            color=curve.style.colour,
            zorder=5,
        )
        pixels = [float(axes.transData.transform((x, 1))[0]) for x in crosses]
        left, right = widest_gap(pixels, (area.x0, area.x1), _CROSS_GAP * figure.dpi)
        reasons = ", ".join(dict.fromkeys(word for _, word in curve.gaps))
        texts = (f"{shown_name(curve.label)} {reasons}", reasons)
        widths = [text_size(figure, text)[0] * figure.dpi for text in texts]
        text, width = next(
            ((t, w) for t, w in zip(texts, widths, strict=True) if w <= right - left),
            (texts[-1], widths[-1]),
        )
        boxes.append(Box(right - width, middle - line / 2, right, middle + line / 2))
        _write(axes, text, boxes[-1])
    return boxes


def mark_crossings(
    axes: Axes,
    crossings: Sequence[Crossing],
    lines: Sequence[NDArray[np.float64]],
    taken: list[Box],
) -> None:
    """A ring at each break-even length, with the length beside it.

    Args:
        axes: of the panel.
        crossings: the break-even lengths.
        lines: resampled lines in pixels, which texts avoid.
        taken: the places of other texts; those written here are added.
    """
    figure = figure_of_axes(axes)
    rings = [axes.transData.transform((c.seq_len, c.value)) for c in crossings]
    for crossing, ring in zip(crossings, rings, strict=True):
        axes.plot(
            [crossing.seq_len],
            [crossing.value],
            marker="o",
            markersize=CROSSING,
            markerfacecolor="none",
            markeredgecolor=crossing.colour,
            markeredgewidth=1.4,
            zorder=5,
        )
        width, height = (side * figure.dpi for side in text_size(figure, crossing.text))
        anchor = float(ring[0]), float(ring[1])
        others = [*lines, np.repeat(np.asarray(rings), 4, axis=0)]
        # Bold letters are about a tenth wider.
        box = free_box(anchor, (1.12 * width, height), _limits(axes), taken, others)
        if box is not None:
            taken.append(box)
            _write(axes, crossing.text, box, fontweight="bold")
            _lead(axes, anchor, box.nearest(anchor))


def name_guides(
    axes: Axes,
    guides: Mapping[str, NDArray[np.float64]],
    lines: Sequence[NDArray[np.float64]],
    taken: list[Box],
) -> None:
    """Write the names of the grey lines beside them.

    Args:
        axes: of the panel.
        guides: points of each line in pixels, by its name.
        lines: resampled lines in pixels, which texts avoid.
        taken: the places of other texts; those written here are added.
    """
    figure = figure_of_axes(axes)
    for name, points in guides.items():
        width, height = (side * figure.dpi for side in text_size(figure, name))
        x, y = points[int(_GUIDE_NAME * (len(points) - 1))]
        box = free_box((float(x), float(y)), (width, height), _limits(axes), taken, lines)
        if box is not None:
            taken.append(box)
            _write(axes, name, box, color=MUTED)


def name_points(
    axes: Axes, names: Sequence[PointName], lines: Sequence[NDArray[np.float64]], taken: list[Box]
) -> None:
    """Write texts beside points; none where there is no room beside it.

    Args:
        axes: of the panel.
        names: the texts.
        lines: resampled lines in pixels, which texts avoid.
        taken: the places of other texts; those written here are added.
    """
    figure = figure_of_axes(axes)
    pixels = [axes.transData.transform((name.x, name.y)) for name in names]
    marks = [np.repeat(np.asarray([pixel]), 4, axis=0) for pixel in pixels]
    for name, pixel in zip(names, pixels, strict=True):
        width, height = (side * figure.dpi for side in text_size(figure, name.text))
        anchor = float(pixel[0]), float(pixel[1])
        box = free_box(anchor, (width, height), _limits(axes), taken, [*lines, *marks])
        if box is None:
            continue
        if np.hypot(*np.subtract(box.nearest(anchor), anchor)) <= _BESIDE * height:
            taken.append(box)
            _write(axes, name.text, box, color=name.colour)


def _lead(axes: Axes, ring: tuple[float, float], text: tuple[float, float]) -> None:
    """A thin line from a ring to its text, in pixels, where they are apart."""
    if np.hypot(text[0] - ring[0], text[1] - ring[1]) < _LEADER * figure_of_axes(axes).dpi:
        return
    ends = axes.transAxes.inverted().transform([ring, text])
    axes.plot(*ends.T, transform=axes.transAxes, color=MUTED, linewidth=0.7, zorder=4.5)


def _limits(axes: Axes) -> Box:
    area = axes.get_window_extent()
    inset = _INSET * figure_of_axes(axes).dpi
    return Box(area.x0 + inset, area.y0 + inset, area.x1, area.y1)


def _write(axes: Axes, text: str, box: Box, **style: Any) -> None:
    """Write a text into the middle of a rectangle in pixels."""
    area = axes.get_window_extent()
    axes.text(
        ((box.left + box.right) / 2 - area.x0) / area.width,
        ((box.bottom + box.top) / 2 - area.y0) / area.height,
        text,
        transform=axes.transAxes,
        ha="center",
        va="center",
        zorder=6,
        **style,
    )
