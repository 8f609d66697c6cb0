"""One panel of the chart at a single length: a horizontal bar for each kernel."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator

from attnprof.report.charts.axis import figure_of_axes
from attnprof.report.charts.canvas import GRID, INK, MUTED, new_figure, text_size
from attnprof.report.charts.curves import Curve, Panel, Point, Quantity
from attnprof.report.charts.growth_panel import COUNTED_MARKER, ESTIMATE_DASH, tag_of
from attnprof.report.charts.names import shown_name
from attnprof.report.charts.tags import Tags
from attnprof.report.charts.ticks import linear_ticks, tick_label

_ROW, _MOST_HEIGHT, _LEAST_HEIGHT = 0.55, 8.0, 1.6
_DENSE_ROW = 0.3
"""Height of a row in inches, and of one where there are many."""

_THICKNESS = 0.62
_NAME_GAP = 0.12
_VALUE_GAP = 4
"""From a bar to its value, in points."""

_TICK_ROOM = 0.75
"""Distance of two ticks, in inches."""


def bars_height(rows: int) -> float:
    """Height of the axes in inches."""
    return max(_LEAST_HEIGHT, min(rows * _ROW, max(3.3, rows * _DENSE_ROW)))


def names_width(panels: Sequence[Panel]) -> float:
    """Room for the longest name of a curve, in inches."""
    return names_width_of([curve.label for panel in panels for curve in panel.curves])


def names_width_of(names: Sequence[str]) -> float:
    """Room for the longest of some names, in inches."""
    figure = new_figure(1, 1)
    return _NAME_GAP + max((text_size(figure, shown_name(name))[0] for name in names), default=0)


def draw_bars(axes: Axes, panel: Panel, tags: Tags, *, has_names: bool) -> None:
    """Draw a panel into axes that have their final position: bars from 0, values at their ends."""
    quantity, curves = panel.quantity, panel.curves
    figure = figure_of_axes(axes)
    longest = max(max(point.value, point.high or 0) for point in panel.points)
    texts = [_value_text(panel, curve) for curve in curves]
    room = max(text_size(figure, text)[0] for text in texts) + 2 * _VALUE_GAP / 72
    width = axes.get_window_extent().width / figure.dpi
    axes.set_xlim(0, longest / max(0.2, 1 - room / width))
    axes.set_ylim(len(curves) - 0.5, -0.5)
    for row, (curve, text) in enumerate(zip(curves, texts, strict=True)):
        _draw_bar(axes, panel, curve, row, text, tags)
    ticks = linear_ticks(longest, quantity.scale, max(2, int(width / _TICK_ROOM)))
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(
        FixedFormatter([tick_label(tick, quantity.scale) for tick in ticks])
    )
    axes.yaxis.set_major_locator(FixedLocator(range(len(curves))))
    names = [shown_name(curve.label) if has_names else "" for curve in curves]
    axes.yaxis.set_major_formatter(FixedFormatter(names))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.8)


def _value_text(panel: Panel, curve: Curve) -> str:
    """The value of a bar; of a missing one, why."""
    if not curve.points:
        return ", ".join(dict.fromkeys(word for _, word in curve.gaps))
    text = panel.quantity.form(curve.points[0].value)
    words = dict.fromkeys(word for _, word in curve.gaps)
    return ", ".join([text, *words])


def _draw_bar(axes: Axes, panel: Panel, curve: Curve, row: int, text: str, tags: Tags) -> None:
    """A bar with its interval, the count of ptflops in it, and the value at its end."""
    end, gap = 0.0, _VALUE_GAP
    for point in curve.points[:1]:
        _draw_value(axes, panel.quantity, curve, point, row, tags)
        end = float(max(point.value, point.high or 0))
    for point in curve.counted[:1]:
        axes.plot(
            [point.value],
            [row],
            linestyle="none",
            marker="o",
            markersize=COUNTED_MARKER,
            markerfacecolor="white",
            markeredgecolor=INK,
            markeredgewidth=1.2,
            zorder=5,
            gid=tags.add((tag_of(curve, point, panel.quantity.counted, panel.quantity),)),
        )
        if point.value >= end:
            end, gap = float(point.value), _VALUE_GAP + COUNTED_MARKER / 2
    axes.annotate(
        text,
        (end, row),
        xytext=(gap, 0),
        textcoords="offset points",
        va="center",
        color=INK if curve.points else MUTED,
    )


def _draw_value(
    axes: Axes, quantity: Quantity, curve: Curve, point: Point, row: int, tags: Tags
) -> None:
    """The bar, hollow if it was not measured, and a line along its interval."""
    name = quantity.predicted[0] if point.is_predicted else quantity.name
    axes.barh(
        row,
        float(point.value),
        _THICKNESS,
        color="white" if point.is_predicted else curve.style.colour,
        edgecolor=curve.style.colour,
        linewidth=1.2,
        linestyle=(0, ESTIMATE_DASH) if point.is_predicted else "-",
        gid=tags.add((tag_of(curve, point, name, quantity),)),
        zorder=2,
    )
    if point.low and point.high:
        for colour, width in (("white", 3.4), (INK, 1.4)):
            ends = (point.low, point.high)
            axes.plot(ends, (row, row), color=colour, linewidth=width, zorder=3)
