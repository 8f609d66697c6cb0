"""One panel of the growth chart: curves on logarithmic axes, their names at their ends, marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import NDArray

from attnprof.core.records import REFERENCE
from attnprof.core.units import format_tokens
from attnprof.report.charts.axis import label_lengths
from attnprof.report.charts.canvas import FAINT, GRID, LINE_INCHES
from attnprof.report.charts.curves import Axis, Curve, Growth, Panel, Point, Quantity
from attnprof.report.charts.labels import resample
from attnprof.report.charts.marks import (
    MARKER,
    CurveEnd,
    mark_crossings,
    mark_gaps,
    name_ends,
    name_guides,
)
from attnprof.report.charts.tags import Tag, Tags
from attnprof.report.charts.ticks import LEAST_RANGE, log_ticks, tick_label

_AXIS_TITLES: dict[Axis, str] = {
    "seq_len": "sequence length (tokens)",
    "window": "window (tokens)",
    "dilation": "dilation",
}
_CONTEXT_TITLE = "context length (tokens)"

ESTIMATE_DASH = (1.0, 1.8)
"""The dash of what was not measured: predictions, and ptflops' counts."""

LINE_WIDTH, ESTIMATE_WIDTH, COUNTED_MARKER = 1.8, 1.1, 7.5
BAND_ALPHA = 0.14

_GUIDES = {"n": 1, "n²": 2}
_MOST_BAND = 3.0
"""Intervals that leave the values by more than this factor are cut off by the axis."""

_TICK_ROOM = 1.9
"""Distance of two ticks of the vertical axis, in lines of text."""


def axis_title(axis: Axis, *, is_decoding: bool) -> str:
    """The title of the horizontal axis; where tokens are decoded, it has lengths of the context."""
    return _CONTEXT_TITLE if is_decoding and axis == "seq_len" else _AXIS_TITLES[axis]


def draw_growth(axes: Axes, panel: Panel, growth: Growth, tags: Tags) -> None:
    """Draw a panel into axes that have their final position."""
    first, last = growth.values[0], growth.values[-1]
    margin = (last / first) ** 0.05
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlim(first / margin, last * margin)
    _set_value_limits(axes, panel)
    _set_ticks(axes, panel.quantity, growth)
    guides = _draw_guides(axes, growth)
    curves = [_across(curve, growth) for curve in panel.curves]
    lines = [line for curve in curves for line in _draw_curve(axes, panel.quantity, curve, tags)]
    name_ends(axes, [_end(curve) for curve in curves if curve.points])
    taken = mark_gaps(axes, curves)
    lines += guides.values()
    mark_crossings(axes, panel.crossings, lines, taken)
    name_guides(axes, guides, lines, taken)


def _across(curve: Curve, growth: Growth) -> Curve:
    """A curve; one without `x` as a level from the first value of the axis to the last."""
    if not curve.is_level:
        return curve
    ends = (growth.values[0], growth.values[-1])

    def spread(points: tuple[Point, ...]) -> tuple[Point, ...]:
        return tuple(replace(point, x=x) for point in points[:1] for x in ends)

    return replace(curve, points=spread(curve.points), counted=spread(curve.counted))


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
    label_lengths(axes, growth.values)
    low, high = axes.get_ylim()
    most = max(2, int(_height(axes) / LINE_INCHES / _TICK_ROOM))
    ticks = log_ticks(low, high, quantity.scale, most)
    axes.yaxis.set_major_locator(FixedLocator([float(tick) for tick in ticks]))
    axes.yaxis.set_major_formatter(
        FixedFormatter([tick_label(tick, quantity.scale) for tick in ticks])
    )
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color=GRID, linewidth=0.8)


def _pixels(axes: Axes, points: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    return resample(axes.transData.transform(points))


def has_guides(growth: Growth) -> bool:
    """Whether there are lines that grow as n and as n²: not where they would coincide."""
    is_wide = bool(growth.values) and growth.values[-1] >= 2 * growth.values[0]
    return growth.axis == "seq_len" and is_wide


def _draw_guides(axes: Axes, growth: Growth) -> dict[str, NDArray[np.float64]]:
    """Grey lines that grow as n and as n², from below the lowest curve; in pixels, by name."""
    if not has_guides(growth):
        return {}
    first, last = growth.values[0], growth.values[-1]
    begin = axes.get_ylim()[0] * 1.08
    lines: dict[str, NDArray[np.float64]] = {}
    for name, power in _GUIDES.items():
        end = min(last, first * (axes.get_ylim()[1] / begin) ** (1 / power))
        points = [(first, begin), (end, begin * (end / first) ** power)]
        axes.plot(*zip(*points, strict=True), color=FAINT, linewidth=1.0, zorder=1)
        lines[name] = _pixels(axes, points)
    return lines


def _draw_curve(
    axes: Axes, quantity: Quantity, curve: Curve, tags: Tags
) -> list[NDArray[np.float64]]:
    """Lines, the interval around them, and markers: hollow where a value was not measured."""
    style = curve.style
    lines: list[NDArray[np.float64]] = []
    banded = [(float(p.x), float(p.low), float(p.high)) for p in curve.points if p.low and p.high]
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
        points = [(float(point.x), float(point.value)) for point in curve.counted]
        axes.plot(*zip(*points, strict=True), **_line(curve, is_estimate=True), zorder=2.5)
        lines.append(_pixels(axes, points))
    measured = [point for point in curve.points if not point.is_predicted]
    predicted = [point for point in curve.points if point.is_predicted]
    for points, name in (
        (measured, quantity.name),
        (predicted, quantity.predicted[0]),
        (curve.counted, quantity.counted),
    ):
        _mark(axes, curve, points, name, quantity, tags)
    return lines


def _end(curve: Curve) -> CurveEnd:
    last = curve.points[-1]
    return CurveEnd(curve.label, curve.style, float(last.x), float(last.value))


def _joined(pairs: list[tuple[Point, Point]]) -> list[tuple[float, float]]:
    points = [pairs[0][0], *(later for _, later in pairs)]
    return [(float(point.x), float(point.value)) for point in points]


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
) -> None:
    """Markers of some points, hollow if they were not measured, with what they stand for."""
    if not points:
        return
    is_hollow, is_counted = name != quantity.name, name == quantity.counted
    values = tuple(tag_of(curve, point, name, quantity) for point in points)
    axes.plot(
        [float(point.x) for point in points],
        [float(point.value) for point in points],
        linestyle="none",
        marker=curve.style.marker,
        markersize=COUNTED_MARKER if is_counted else MARKER,
        markerfacecolor="white" if is_hollow else curve.style.colour,
        markeredgecolor=curve.style.colour,
        markeredgewidth=1.2,
        # Counts of fused attention coincide: the reference's smaller marker is on top.
        zorder=(3.6 if curve.kernel == REFERENCE else 3.5) if is_counted else 4,
        gid=tags.add(values),
    )


def tag_of(curve: Curve, point: Point, name: str, quantity: Quantity) -> Tag:
    """What a point stands for: `bert-sdpa at 4,096 tokens: 362 ms (360 ms to 365 ms)`."""
    text = f"{curve.label} at {format_tokens(point.seq_len)}: {quantity.form(point.value)}"
    if point.low and point.high:
        text += f" ({quantity.form(point.low)} to {quantity.form(point.high)})"
    if point.is_predicted:
        text += ", predicted"
    elif name == quantity.counted:
        text += ", counted by ptflops"
    return Tag(curve.label, point.seq_len, name, point.value, text)
