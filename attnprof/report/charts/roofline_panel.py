"""The panel of the roofline chart: FLOP/s against FLOP/B on logarithmic axes, below the roof."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import NDArray

from attnprof.core.units import (
    format_bytes,
    format_count,
    format_intensity,
    format_macs,
    format_percent,
    format_tokens,
)
from attnprof.report.charts.axis import figure_of_axes
from attnprof.report.charts.canvas import GRID, INK, LINE_INCHES, MUTED
from attnprof.report.charts.labels import Box, resample
from attnprof.report.charts.marks import (
    MARKER,
    CurveEnd,
    PointName,
    name_ends,
    name_guides,
    name_points,
)
from attnprof.report.charts.roofline import Roof, RoofCurve, Roofline, RoofPoint
from attnprof.report.charts.tags import Tag, Tags
from attnprof.report.charts.ticks import fraction_ticks, log_ticks, tick_label

X_TITLE = "arithmetic intensity (executed FLOP / least byte)"
QUANTITY = "flops_per_s"

_BELOW_BALANCE, _ABOVE_BALANCE = 8.0, 8.0
"""The axis begins and ends at least this factor from each machine's balance."""

_MARGIN, _TOP = 1.4, 2.2
"""Factors from the outermost points, and from the highest roof, to the ends of the axes."""

_DEPTH = 10.0
"""The vertical axis reaches at least this factor below the highest roof."""

_TICK_ROOM, _TICK_INCHES = 1.9, 0.7
_DASHES: tuple[str | tuple[float, tuple[float, ...]], ...] = ("-", (0, (5, 2)), (0, (1, 1.2)))


def draw_roofline(axes: Axes, roofline: Roofline, tags: Tags) -> None:
    """Draw the chart into axes that have their final position."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    _set_limits(axes, roofline)
    _set_ticks(axes)
    guides: dict[str, NDArray[np.float64]] = {}
    for index, roof in enumerate(roofline.roofs):
        guides |= _draw_roof(axes, roof, index)
    lines = [line for curve in roofline.curves for line in _draw_curve(axes, curve, tags)]
    name_ends(axes, [_end(curve) for curve in roofline.curves])
    taken: list[Box] = []
    name_guides(axes, guides, [*guides.values(), *lines], taken)
    name_points(axes, _lengths(roofline), [*guides.values(), *lines], taken)


def describe_point(curve: RoofCurve, point: RoofPoint) -> str:
    """All of a point: `bert-sdpa at 512 tokens: 62.1 GFLOP/s at 256 FLOP/B, 61 % of matmul`."""
    text = (
        f"{curve.label} at {format_tokens(point.seq_len)}: "
        f"{format_macs(round(point.flops_per_s), 'FLOP/s')} at "
        f"{format_intensity(point.intensity)} FLOP/B, "
        f"{format_percent(point.part)} of the matmul rate"
    )
    return f"{text}, predicted" if point.is_predicted else text


def describe_roof(roof: Roof) -> tuple[str, str]:
    """The names of its two parts: of products, and of memory."""
    of = f"{roof.name}: " if roof.name else ""
    return (
        f"{of}matrix products {format_macs(round(roof.flops_per_s), 'FLOP/s')}",
        f"{of}memory {format_bytes(round(roof.bytes_per_s))}/s",
    )


def _set_limits(axes: Axes, roofline: Roofline) -> None:
    balances = [roof.balance for roof in roofline.roofs]
    intensities = [point.intensity for point in roofline.points]
    axes.set_xlim(
        min([min(balances) / _BELOW_BALANCE, *(x / _MARGIN for x in intensities)]),
        max([max(balances) * _ABOVE_BALANCE, *(x * _MARGIN for x in intensities)]),
    )
    highest = max(roof.flops_per_s for roof in roofline.roofs)
    speeds = [point.flops_per_s for point in roofline.points]
    axes.set_ylim(
        min([highest / _DEPTH, *(y / _MARGIN for y in speeds)]),
        max([highest * _TOP, *(y * _MARGIN for y in speeds)]),
    )


def _set_ticks(axes: Axes) -> None:
    area, dpi = axes.get_window_extent(), figure_of_axes(axes).dpi
    intensities = fraction_ticks(*axes.get_xlim(), max(2, int(area.width / dpi / _TICK_INCHES)))
    axes.xaxis.set_major_locator(FixedLocator(intensities))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:,.10g}" for tick in intensities]))
    speeds = log_ticks(
        *axes.get_ylim(), "macs", max(2, int(area.height / dpi / LINE_INCHES / _TICK_ROOM))
    )
    axes.yaxis.set_major_locator(FixedLocator([float(tick) for tick in speeds]))
    axes.yaxis.set_major_formatter(FixedFormatter([tick_label(tick, "macs") for tick in speeds]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.grid(color=GRID, linewidth=0.8)


def _draw_roof(axes: Axes, roof: Roof, index: int) -> dict[str, NDArray[np.float64]]:
    """Both parts of a roof; in pixels, by name."""
    first, last = axes.get_xlim()
    corner = (roof.balance, roof.flops_per_s)
    start = max(first, axes.get_ylim()[0] / roof.bytes_per_s)
    products, memory = describe_roof(roof)
    parts = {
        products: [corner, (last, roof.flops_per_s)],
        memory: [(start, roof.attainable(start)), corner],
    }
    for points in parts.values():
        axes.plot(
            *zip(*points, strict=True),
            color=INK if index == 0 else MUTED,
            linestyle=_DASHES[index % len(_DASHES)],
            linewidth=1.4,
            zorder=1.5,
        )
    return {name: _pixels(axes, points) for name, points in parts.items()}


def _draw_curve(axes: Axes, curve: RoofCurve, tags: Tags) -> list[NDArray[np.float64]]:
    """A thin line from length to length, and markers: hollow where a time was not measured."""
    points = [(point.intensity, point.flops_per_s) for point in curve.points]
    colour = curve.style.colour
    lines: list[NDArray[np.float64]] = []
    if len(points) > 1:
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.9, alpha=0.6, zorder=3)
        lines.append(_pixels(axes, points))
    for is_predicted in (False, True):
        group = [point for point in curve.points if point.is_predicted == is_predicted]
        if not group:
            continue
        values = tuple(
            Tag(
                curve.label,
                point.seq_len,
                QUANTITY,
                round(point.flops_per_s),
                describe_point(curve, point),
            )
            for point in group
        )
        axes.plot(
            [point.intensity for point in group],
            [point.flops_per_s for point in group],
            linestyle="none",
            marker=curve.style.marker,
            markersize=MARKER,
            markerfacecolor="white" if is_predicted else colour,
            markeredgecolor=colour,
            markeredgewidth=1.2,
            zorder=4,
            gid=tags.add(values),
        )
    return lines


def _end(curve: RoofCurve) -> CurveEnd:
    last = curve.points[-1]
    return CurveEnd(curve.label, curve.style, last.intensity, last.flops_per_s)


def _lengths(roofline: Roofline) -> list[PointName]:
    """The first and last lengths of the curves with several, with their points."""
    return [
        PointName(
            format_count(point.seq_len), curve.style.colour, point.intensity, point.flops_per_s
        )
        for curve in roofline.curves
        if len(curve.points) > 1
        for point in (curve.points[0], curve.points[-1])
    ]


def _pixels(axes: Axes, points: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    return resample(axes.transData.transform(points))
