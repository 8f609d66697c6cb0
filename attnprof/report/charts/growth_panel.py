"""One panel of the growth chart: curves on logarithmic axes, their names at their ends, marks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from attnprof.core.units import format_count
from attnprof.report.charts.canvas import FAINT, GRID, MUTED, TEXT_POINTS, text_size
from attnprof.report.charts.curves import Axis, Curve, Growth, Panel, Point, Quantity
from attnprof.report.charts.labels import Box, free_box, resample, spread_labels
from attnprof.report.charts.tags import Tag, Tags
from attnprof.report.charts.ticks import LEAST_RANGE, log_ticks, spaced, tick_label

AXIS_TITLES: dict[Axis, str] = {
    "seq_len": "sequence length (tokens)",
    "window": "window (tokens)",
    "dilation": "dilation",
}

LABEL_GAP = 0.3
"""From the axes to the names of the curves, in inches."""

_KEY_GAP = 0.08
"""From the marker in front of a curve's name to the name."""

LINE_INCHES = TEXT_POINTS * 1.25 / 72
"""Height of a line of text."""

ESTIMATE_DASH = (1.0, 1.8)
"""The dash of what was not measured: predictions, and ptflops' counts."""

LINE_WIDTH, ESTIMATE_WIDTH, MARKER, CROSSING = 1.8, 1.1, 5.5, 7.0
BAND_ALPHA = 0.16

_GUIDES = {"n": 1, "n²": 2}
_MOST_BAND = 3.0
"""Intervals that leave the values by more than this factor are cut off by the axis."""

_TICK_ROOM = 1.9
"""Distance of two ticks of the vertical axis, in lines of text."""


def draw_growth(axes: Axes, panel: Panel, growth: Growth, tags: Tags) -> None:
    """Draw a panel into axes that have their final position."""
    first, last = growth.values[0], growth.values[-1]
    margin = (last / first) ** 0.05
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlim(first / margin, last * margin)
    _set_value_limits(axes, panel)
    _set_ticks(axes, panel.quantity, growth)
    lines = _draw_guides(axes, panel, growth)
    for curve in panel.curves:
        lines += _draw_curve(axes, panel.quantity, _across(curve, growth), growth, tags)
    taken = _draw_gaps(axes, panel)
    _name_ends(axes, [_across(curve, growth) for curve in panel.curves if curve.points])
    _mark_crossings(axes, panel, lines, taken)


def _across(curve: Curve, growth: Growth) -> Curve:
    """A curve; one without `x` as a level from the first value of the axis to the last."""
    if not curve.is_level:
        return curve
    ends = (growth.values[0], growth.values[-1])

    def spread(points: tuple[Point, ...]) -> tuple[Point, ...]:
        return tuple(
            Point(x, p.value, p.seq_len, p.low, p.high, p.is_predicted)
            for p in points[:1]
            for x in ends
        )

    return Curve(
        curve.label,
        curve.kernel,
        curve.style,
        spread(curve.points),
        spread(curve.counted),
        curve.gaps,
    )


def _set_value_limits(axes: Axes, panel: Panel) -> None:
    values = [point.value for point in panel.points]
    low, high = float(min(values)), float(max(values))
    low_ends = [point.low for point in panel.points if point.low]
    high_ends = [point.high for point in panel.points if point.high]
    low = min(low, max(low / _MOST_BAND, min(low_ends, default=low)))
    high = max(high, min(high * _MOST_BAND, max(high_ends, default=high)))
    low, high = low / 1.5, high * 1.5
    missing = LEAST_RANGE / (high / low)
    if missing > 1:
        low, high = low / missing**0.5, high * missing**0.5
    rows = sum(bool(curve.gaps) for curve in panel.curves)
    strip = min(0.6, rows * LINE_INCHES / _height(axes))
    axes.set_ylim(low, high * (high / low) ** (strip / (1 - strip)))


def _height(axes: Axes) -> float:
    """Height of the axes in inches."""
    return axes.get_window_extent().height / axes.figure.dpi


def _set_ticks(axes: Axes, quantity: Quantity, growth: Growth) -> None:
    names = [format_count(value) for value in growth.values]
    figure = axes.get_figure(root=True)
    assert figure is not None
    positions = [float(axes.transData.transform((x, 1))[0]) / figure.dpi for x in growth.values]
    widths = [text_size(figure, name)[0] for name in names]
    shown = spaced(positions, widths, gap=0.08)
    axes.xaxis.set_major_locator(FixedLocator([growth.values[index] for index in shown]))
    axes.xaxis.set_major_formatter(FixedFormatter([names[index] for index in shown]))
    axes.xaxis.set_minor_locator(FixedLocator(growth.values))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    most = max(2, int(_height(axes) / LINE_INCHES / _TICK_ROOM))
    ticks = log_ticks(low, high, quantity.scale, most)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(
        FixedFormatter([tick_label(tick, quantity.scale) for tick in ticks])
    )
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_xlabel(AXIS_TITLES[growth.axis], labelpad=2)


def _pixels(axes: Axes, points: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    return resample(axes.transData.transform(points))


def _draw_guides(axes: Axes, panel: Panel, growth: Growth) -> list[NDArray[np.float64]]:
    """Grey lines that grow as n and as n², from below the lowest curve."""
    if growth.axis != "seq_len":
        return []
    first, last = growth.values[0], growth.values[-1]
    begin = axes.get_ylim()[0] * 1.08
    lines: list[NDArray[np.float64]] = []
    for name, power in _GUIDES.items():
        end = min(last, first * (axes.get_ylim()[1] / begin) ** (1 / power))
        points = [(first, begin), (end, begin * (end / first) ** power)]
        axes.plot(*zip(*points, strict=True), color=FAINT, linewidth=1.0, zorder=1)
        axes.annotate(
            name,
            points[1],
            xytext=(3, 0),
            textcoords="offset points",
            color=MUTED,
            va="center",
            annotation_clip=False,
        )
        lines.append(_pixels(axes, points))
    return lines


def _draw_curve(
    axes: Axes, quantity: Quantity, curve: Curve, growth: Growth, tags: Tags
) -> list[NDArray[np.float64]]:
    """Lines, the interval around them, and markers: hollow where a value was not measured."""
    style = curve.style
    lines: list[NDArray[np.float64]] = []
    banded = [(p.x, p.low, p.high) for p in curve.points if p.low and p.high]
    if len(banded) > 1:
        x, low, high = zip(*banded, strict=True)
        axes.fill_between(x, low, high, color=style.colour, alpha=BAND_ALPHA, linewidth=0, zorder=2)
    for is_estimate, pairs in groupby(
        pairwise(curve.points), key=lambda pair: pair[0].is_predicted or pair[1].is_predicted
    ):
        points = _joined(list(pairs))
        axes.plot(*zip(*points, strict=True), **_line(curve, is_estimate=is_estimate), zorder=3)
        lines.append(_pixels(axes, points))
    if len(curve.counted) > 1:
        points = [(point.x, point.value) for point in curve.counted]
        axes.plot(*zip(*points, strict=True), **_line(curve, is_estimate=True), zorder=2.5)
        lines.append(_pixels(axes, points))
    measured = [point for point in curve.points if not point.is_predicted]
    predicted = [point for point in curve.points if point.is_predicted]
    _mark(axes, curve, measured, quantity.name, quantity, tags)
    _mark(axes, curve, predicted, quantity.predicted[0], quantity, tags, is_hollow=True)
    _mark(axes, curve, curve.counted, quantity.counted, quantity, tags, is_hollow=True, size=7.5)
    return lines


def _joined(pairs: list[tuple[Point, Point]]) -> list[tuple[float, float]]:
    points = [pairs[0][0], *(later for _, later in pairs)]
    return [(point.x, point.value) for point in points]


def _line(curve: Curve, *, is_estimate: bool) -> dict[str, Any]:
    dash = ESTIMATE_DASH if is_estimate else curve.style.dash
    return {
        "color": curve.style.colour,
        "linestyle": (0, dash) if dash else "-",
        "linewidth": ESTIMATE_WIDTH if is_estimate else LINE_WIDTH,
        "dash_capstyle": "butt",
    }


def _mark(
    axes: Axes,
    curve: Curve,
    points: Sequence[Point],
    name: str,
    quantity: Quantity,
    tags: Tags,
    *,
    is_hollow: bool = False,
    size: float = MARKER,
) -> None:
    """Markers of some points, with the values that they stand for."""
    if not points:
        return
    texts = tuple(
        Tag(curve.label, p.seq_len, name, p.value, describe(curve, p, name, quantity))
        for p in points
    )
    axes.plot(
        [point.x for point in points],
        [point.value for point in points],
        linestyle="none",
        marker=curve.style.marker,
        markersize=size,
        markerfacecolor="white" if is_hollow else curve.style.colour,
        markeredgecolor=curve.style.colour,
        markeredgewidth=1.2,
        zorder=4 if size == MARKER else 3.5,
        gid=tags.add(texts),
    )


def describe(curve: Curve, point: Point, name: str, quantity: Quantity) -> str:
    """A point for people: `bert-sdpa at 4,096 tokens: 362 ms (360 ms to 365 ms)`."""
    text = f"{curve.label} at {format_count(point.seq_len)} tokens: {quantity.form(point.value)}"
    if point.low and point.high:
        text += f" ({quantity.form(point.low)} to {quantity.form(point.high)})"
    if point.is_predicted:
        return f"{text}, predicted"
    return f"{text}, counted by ptflops" if name == quantity.counted else text


def _draw_gaps(axes: Axes, panel: Panel) -> list[Box]:
    """A cross at the upper edge for each value that is missing, and why; a row for each curve."""
    curves = [curve for curve in panel.curves if curve.gaps]
    line = LINE_INCHES / _height(axes)
    boxes: list[Box] = []
    figure = axes.get_figure(root=True)
    assert figure is not None
    area = axes.get_window_extent()
    for row, curve in enumerate(curves):
        y = 1 - (row + 0.5) * line
        colour = curve.style.colour
        crosses = [x for x, _ in curve.gaps]
        axes.plot(
            crosses,
            [y] * len(crosses),
            transform=axes.get_xaxis_transform(),
            linestyle="none",
            marker="x",
            markersize=MARKER,
            markeredgewidth=1.4,
            color=colour,
            zorder=5,
        )
        text = f"{curve.label} {', '.join(dict.fromkeys(word for _, word in curve.gaps))}"
        width, height = (side * figure.dpi for side in text_size(figure, text))
        first, last = (
            float(axes.transData.transform((x, 1))[0]) for x in (crosses[0], crosses[-1])
        )
        gap = 0.1 * figure.dpi
        is_left = first - gap - width > area.x0
        left = first - gap - width if is_left else min(last + gap, area.x1 - width)
        middle = area.y0 + y * area.height
        boxes.append(Box(left, middle - height / 2, left + width, middle + height / 2))
        axes.text(
            (left - area.x0) / area.width,
            y,
            text,
            transform=axes.transAxes,
            va="center",
        )
    return boxes


def _name_ends(axes: Axes, curves: Sequence[Curve]) -> None:
    """Write each curve's name to the right of the axes, spread so that none overlap."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    ends = sorted(
        (float(axes.transData.transform((c.points[-1].x, c.points[-1].value))[1]), index)
        for index, c in enumerate(curves)
    )
    area = axes.get_window_extent()
    sizes = [text_size(figure, curves[index].label)[1] * figure.dpi for _, index in ends]
    slack = max(0.0, sum(sizes) - area.height) / 2
    places = spread_labels(
        [height for height, _ in ends], sizes, (area.y0 - slack, area.y1 + slack)
    )
    for place, (_, index) in zip(places, ends, strict=True):
        curve, point = curves[index], curves[index].points[-1]
        y = (place - area.y0) / area.height
        axes.annotate(
            curve.label,
            xy=(point.x, point.value),
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
            marker=curve.style.marker,
            markersize=MARKER,
            color=curve.style.colour,
            clip_on=False,
        )


def _mark_crossings(
    axes: Axes, panel: Panel, lines: Sequence[NDArray[np.float64]], taken: list[Box]
) -> None:
    """A ring at each break-even length, with the length beside it."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    area = axes.get_window_extent()
    limits = Box(area.x0, area.y0, area.x1, area.y1)
    for crossing in panel.crossings:
        at = (crossing.seq_len, crossing.value)
        axes.plot(
            *([value] for value in at),
            marker="o",
            markersize=CROSSING,
            markerfacecolor="none",
            markeredgecolor=crossing.colour,
            markeredgewidth=1.4,
            zorder=5,
        )
        x, y = (float(value) for value in axes.transData.transform(at))
        width, height = (side * figure.dpi for side in text_size(figure, crossing.text))
        box = free_box((x, y), (width, height), limits, taken, lines)
        if box is None:
            continue
        taken.append(box)
        axes.text(
            ((box.left + box.right) / 2 - area.x0) / area.width,
            ((box.bottom + box.top) / 2 - area.y0) / area.height,
            crossing.text,
            transform=axes.transAxes,
            fontweight="bold",
            ha="center",
            va="center",
            zorder=6,
        )
