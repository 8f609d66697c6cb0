"""The chart: MACs, peak memory and time over length on log-log axes, a line for each kernel."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from attnprof.analysis.series import Series, series_of
from attnprof.core.records import PREDICTED_TIME
from attnprof.core.result_table import ResultTable
from attnprof.core.units import format_count
from attnprof.report.chart_layout import (
    EDGE,
    LABEL_POINTS,
    LINE_HEIGHT,
    Panel,
    Point,
    all_points,
    end_label,
    lay_out,
    line_count,
    measured_and_predicted,
    panels_of,
    points_of,
    predicted_points,
)
from attnprof.report.label_layout import farthest_point, resample, spread_labels
from attnprof.report.setting import describe_setting

# Okabe and Ito's colour-blind-safe palette without its yellow. Markers and dashes repeat the
# colours, for readers and printers without them.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (3, 1, 1, 1)))

_ESTIMATE_DASH = (0, (1, 2.2))
"""The dash of values that may be wrong: ptflops' counts, predictions."""

_GUIDE = "#B8B8B8"
_GUIDES = {"n": 1, "n²": 2}
_GUIDE_LABEL_OFFSET = (10.0, -14.0)
"""From a guide to its name, in pixels."""

_MAX_TICKS = 6


def render_png(table: ResultTable) -> bytes:
    """A PNG with a panel for each quantity that the table has."""
    series = [member for member in series_of(table) if member.is_supported]
    panels = panels_of(series)
    figure, grid = lay_out(panels, series)
    for axes, panel in zip(grid, panels, strict=True):
        _draw(axes, panel, series)
        _label_ends(axes, panel, series)
        _label_guides(axes, all_points(panel, series))
    if not panels:
        figure.text(0.5, 0.5, "no kernel could be run", ha="center", va="center")
    _head(figure, describe_setting(table))
    _legend(
        figure,
        has_counts=any(points_of(member, "ptflops_pytorch_macs") for member in series),
        has_predictions=any(points_of(member, PREDICTED_TIME) for member in series),
    )
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _head(figure: Figure, setting: str) -> None:
    """The title, and the setting below it."""
    left, height = EDGE / figure.get_figwidth(), figure.get_figheight()
    title = "Cost of attention and its growth with length"
    figure.text(left, 1 - 0.3 / height, title, fontsize=13, fontweight="bold")
    figure.text(left, 1 - 0.55 / height, setting, fontsize=9, color="#555555")


def _style(index: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _DASHES[index % len(_DASHES)],
    }


def _draw(axes: Axes, panel: Panel, series: Sequence[Series]) -> None:
    """The lines of one panel; counted and predicted values are hollow and dotted."""
    points = [
        point for index, member in enumerate(series) for point in _plot(axes, panel, member, index)
    ]
    lengths = sorted({length for length, _ in points})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=panel.log_base)
    axes.set_title(panel.title, loc="left", fontsize=10.5)
    axes.set_xlabel("sequence length (tokens)", fontsize=9)
    _frame(axes, points, lengths)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(lengths)))
    axes.xaxis.set_major_formatter(FuncFormatter(_count_tick))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(panel.tick))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if panel.log_base == 2:
        axes.yaxis.set_major_locator(LogLocator(base=2, numticks=8))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)


def _plot(axes: Axes, panel: Panel, series: Series, index: int) -> list[Point]:
    """Draw the lines of one series, and return their points."""
    points = points_of(series, panel.quantity)
    counted = points_of(series, panel.counted) if panel.counted else []
    predicted = predicted_points(series, panel)
    style = _style(index)
    hollow: dict[str, Any] = style | {
        "linestyle": _ESTIMATE_DASH,
        "markerfacecolor": "white",
        "linewidth": 1.1,
    }
    if points:
        axes.plot(*_columns(points), linewidth=1.8, markersize=5.5, **style)
    if predicted:
        axes.plot(*_columns(predicted), markersize=5.5, zorder=1.9, **hollow)
    if counted:
        axes.plot(*_columns(counted), markersize=7.5, markeredgewidth=1.1, zorder=1.8, **hollow)
    return points + counted + predicted


def _count_tick(value: float, _: int) -> str:
    return format_count(round(value))


def _columns(points: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [length for length, _ in points], [value for _, value in points]


def _frame(axes: Axes, points: Sequence[tuple[int, int]], lengths: Sequence[int]) -> None:
    """Set limits around the points, and draw grey guides for n and n² that start below them."""
    first, last = lengths[0], lengths[-1]
    low, high = min(value for _, value in points), max(value for _, value in points)
    margin = (last / first) ** 0.06 if last > first else 1.3
    axes.set_xlim(first / margin, last * margin)
    begin = low / 2.2
    axes.set_ylim(begin / 1.3, max(high * 1.8, low * 8))
    if last == first:
        return
    for name, power in _GUIDES.items():
        end = min(last, first * (axes.get_ylim()[1] / begin) ** (1 / power))
        values = (begin, begin * (end / first) ** power)
        axes.plot((first, end), values, color=_GUIDE, linewidth=1.0, zorder=1, label=name)


def _label_guides(axes: Axes, lines: Sequence[Sequence[tuple[int, int]]]) -> None:
    """Name the guides, each beside its point that is farthest from every other line."""

    def pixels(points: Any) -> NDArray[np.float64]:
        return resample(axes.transData.transform(points))

    guides = {
        str(line.get_label()): pixels(line.get_xydata())
        for line in axes.lines
        if line.get_label() in _GUIDES
    }
    for name, guide in guides.items():
        others = [line for label, line in guides.items() if label != name]
        position = farthest_point(guide + _GUIDE_LABEL_OFFSET, [*map(pixels, lines), *others])
        x, y = axes.transData.inverted().transform(position)
        axes.text(x, y, name, fontsize=9, color="#8A8A8A", ha="center", va="center")


def _ticks(lengths: Sequence[int]) -> list[int]:
    """All lengths, or `_MAX_TICKS` of them with both ends where all would overlap."""
    if len(lengths) <= _MAX_TICKS:
        return list(lengths)
    step = (len(lengths) - 1) / (_MAX_TICKS - 1)
    return [lengths[round(index * step)] for index in range(_MAX_TICKS)]


def _label_ends(axes: Axes, panel: Panel, series: Sequence[Series]) -> None:
    """Write each line's name and last exponent to its right, spread so that none overlap."""
    ends: list[tuple[float, str, int, tuple[int, int]]] = []
    for index, member in enumerate(series):
        text = end_label(member, panel)
        if text:
            point = measured_and_predicted(member, panel)[-1]
            ends.append((float(axes.transData.transform(point)[1]), text, index, point))
    ends.sort()
    line_height = LABEL_POINTS * LINE_HEIGHT * axes.figure.dpi / 72
    bottom, top = (float(axes.transAxes.transform((0, y))[1]) for y in (0, 1))
    heights = spread_labels(
        [height for height, *_ in ends],
        [line_height * line_count(text) for _, text, *_ in ends],
        (bottom, top),
    )
    to_axes = axes.transAxes.inverted()
    for height, (_, text, index, point) in zip(heights, ends, strict=True):
        y = float(to_axes.transform((0, height))[1])
        axes.annotate(
            text,
            xy=point,
            xytext=(1.06, y),
            textcoords="axes fraction",
            fontsize=LABEL_POINTS,
            color=_COLOURS[index % len(_COLOURS)],
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": "#BBBBBB",
                "linewidth": 0.7,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )


def _legend(figure: Figure, *, has_counts: bool, has_predictions: bool) -> None:
    handles = [
        Line2D([], [], color="#444444", marker="o", markersize=5.5, linewidth=1.8),
        Line2D([], [], color=_GUIDE, linewidth=1.0),
    ]
    names = [
        "measured or exact; n^k at its end is the growth over the last two lengths",
        "n and n²",
    ]
    hollow = (
        (has_counts, 7.5, "counted by ptflops (default backend)"),
        (has_predictions, 5.5, "predicted, not measured"),
    )
    for is_shown, size, name in hollow:
        if is_shown:
            handles.append(
                Line2D(
                    [],
                    [],
                    color="#444444",
                    marker="o",
                    markerfacecolor="white",
                    markersize=size,
                    linewidth=1.1,
                    linestyle=_ESTIMATE_DASH,
                )
            )
            names.append(name)
    figure.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(0.0, 0.0),
        ncols=len(names),
        fontsize=8.5,
        frameon=False,
        handlelength=2.8,
    )
