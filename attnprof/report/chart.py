"""The picture: MACs, peak memory and time over length, log by log, a line for each kernel."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from attnprof.analysis.series import Series, series_of
from attnprof.core.growth.polynomial import doubling_exponent
from attnprof.core.records import PREDICTED_TIME
from attnprof.core.result_table import ResultTable
from attnprof.core.units import format_bytes, format_count, format_duration, format_macs
from attnprof.report.label_layout import farthest_point, resample, spread_labels
from attnprof.report.summary import describe_setting

# Okabe and Ito's palette without its yellow; marker and dash repeat what the colour says, for
# readers and printers that see none.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (3, 1, 1, 1)))

_GUESSED = (0, (1, 2.2))
"""The dash of what is not the true value: a count, a prediction."""

_GUIDE = "#B8B8B8"
_GUIDES = {"n": 1, "n²": 2}
_LABEL_POINTS = 8.5
_LINE_HEIGHT = 1.45
"""Distance between two labels, in units of their letters' size."""
_MAX_TICKS = 6
_GUIDE_LABEL_OFFSET = (10.0, -14.0)
"""From a guide to its name, in pixels."""

# The layout, in inches: a panel is its axes, the numbers left of them and the labels right of them.
_EDGE = 0.1

_AXES_WIDTH, _MIN_AXES_HEIGHT = 2.9, 3.0

_NUMBERS, _ABOVE, _BELOW = 0.85, 0.95, 0.95

_LETTER = 0.55 * _LABEL_POINTS / 72

_LABEL_GAP = 0.3

_MIN_WIDTH = 8.6


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    quantity: str
    form: Callable[[int], str]
    counted: str | None = None
    predicted: str | None = None

    def tick(self, value: float, _: int) -> str:
        """A label of the vertical axis: a round number, so without decimals."""
        number, unit = self.form(round(value)).split(" ")
        return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"


def _count_tick(value: float, _: int) -> str:
    return format_count(round(value))


_PANELS = (
    _Panel("MACs executed", "executed_macs", format_macs, counted="ptflops_pytorch_macs"),
    _Panel("Peak memory", "peak_bytes", format_bytes),
    _Panel("Predicted peak memory", "predicted_peak_bytes", format_bytes),
    _Panel("Time of one call", "time_ns", format_duration, predicted=PREDICTED_TIME),
)


def render_png(table: ResultTable) -> bytes:
    """A PNG with a panel for each quantity that the table has."""
    series = [one for one in series_of(table) if one.is_supported]
    panels = [
        panel for panel in _PANELS if any(_measured_and_predicted(one, panel) for one in series)
    ]
    if any(panel.quantity == "peak_bytes" for panel in panels):
        panels = [panel for panel in panels if panel.quantity != "predicted_peak_bytes"]
    figure, grid = _lay_out(panels, series)
    for axes, panel in zip(grid, panels, strict=True):
        _draw(axes, panel, series)
        _label_ends(axes, panel, series)
        _label_guides(axes, _all_points(panel, series))
    if not panels:
        figure.text(0.5, 0.5, "no kernel could be run", ha="center", va="center")
    height = figure.get_figheight()
    figure.text(
        _EDGE / figure.get_figwidth(),
        1 - 0.3 / height,
        "What attention costs, and how the cost grows with length",
        fontsize=13,
        fontweight="bold",
    )
    figure.text(
        _EDGE / figure.get_figwidth(),
        1 - 0.55 / height,
        describe_setting(table),
        fontsize=9,
        color="#555555",
    )
    _legend(
        figure,
        has_counts=any(_points(one, "ptflops_pytorch_macs") for one in series),
        has_predictions=any(_points(one, PREDICTED_TIME) for one in series),
    )
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _lay_out(panels: Sequence[_Panel], series: Sequence[Series]) -> tuple[Figure, list[Axes]]:
    """A figure whose axes leave room for the longest label, and for all labels in a column."""
    ends = [_end_label(one, panel) for panel in panels for one in series]
    longest = max((len(line) for text in ends for line in text.split("\n")), default=0)
    lines = max((sum(_lines(_end_label(one, p)) for one in series) for p in panels), default=0)
    gutter = _LABEL_GAP + longest * _LETTER
    axes_height = max(_MIN_AXES_HEIGHT, lines * _LABEL_POINTS * _LINE_HEIGHT / 72)
    panel_width = _NUMBERS + _AXES_WIDTH + gutter
    width = max(_MIN_WIDTH, _EDGE + panel_width * len(panels))
    height = _ABOVE + axes_height + _BELOW
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    grid = [
        figure.add_axes(
            (
                (_EDGE + _NUMBERS + panel_width * index) / width,
                _BELOW / height,
                _AXES_WIDTH / width,
                axes_height / height,
            )
        )
        for index in range(len(panels))
    ]
    return figure, grid


def _points(one: Series, quantity: str) -> list[tuple[int, int]]:
    """Where a logarithm has a place for it: nothing is multiplied where nothing is counted."""
    return [(length, value) for length, value in one.points(quantity) if value > 0]


def _predicted(one: Series, panel: _Panel) -> list[tuple[int, int]]:
    """Predictions, from the last measured point on that they continue."""
    points = _points(one, panel.predicted) if panel.predicted else []
    measured = [point for point in _points(one, panel.quantity) if points and point < points[0]]
    return measured[-1:] + points


def _measured_and_predicted(one: Series, panel: _Panel) -> list[tuple[int, int]]:
    """What was measured, and what was predicted where it was not."""
    return sorted({*_points(one, panel.quantity), *_predicted(one, panel)})


def _lines(text: str) -> int:
    return 1 + text.count("\n") if text else 0


def _end_label(one: Series, panel: _Panel) -> str:
    """A series' name and its growth over the last two lengths; empty without values."""
    points = _points(one, panel.quantity) or _predicted(one, panel)
    if not points:
        return ""
    text = one.label.replace(" ", "\n", 1)
    if len(points) > 1:
        text += f"  n^{doubling_exponent(points[-2], points[-1]):.2f}"
    return text


def _style(index: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _DASHES[index % len(_DASHES)],
    }


def _draw(axes: Axes, panel: _Panel, series: Sequence[Series]) -> None:
    """The lines of one panel; counted and predicted values are hollow and dotted."""
    everything: list[tuple[int, int]] = []
    for index, one in enumerate(series):
        points = _points(one, panel.quantity)
        counted = _points(one, panel.counted) if panel.counted else []
        predicted = _predicted(one, panel)
        everything += points + counted + predicted
        style = _style(index)
        if points:
            axes.plot(*_columns(points), linewidth=1.8, markersize=5.5, **style)
        if predicted:
            hollow: dict[str, Any] = style | {"linestyle": _GUESSED, "markerfacecolor": "white"}
            axes.plot(*_columns(predicted), linewidth=1.1, markersize=5.5, zorder=1.9, **hollow)
        if counted:
            style |= {"linestyle": _GUESSED, "markerfacecolor": "white", "markersize": 7.5}
            axes.plot(*_columns(counted), linewidth=1.1, markeredgewidth=1.1, zorder=1.8, **style)
    lengths = sorted({length for length, _ in everything})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2 if panel.form is format_bytes else 10)
    axes.set_title(panel.title, loc="left", fontsize=10.5)
    axes.set_xlabel("sequence length (tokens)", fontsize=9)
    _frame(axes, everything, lengths)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(lengths)))
    axes.xaxis.set_major_formatter(FuncFormatter(_count_tick))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(panel.tick))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if panel.form is format_bytes:
        axes.yaxis.set_major_locator(LogLocator(base=2, numticks=8))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)


def _all_points(panel: _Panel, series: Sequence[Series]) -> list[list[tuple[int, int]]]:
    quantities = [panel.quantity, *([panel.counted] if panel.counted else [])]
    lines = [_points(one, quantity) for one in series for quantity in quantities]
    lines += [_predicted(one, panel) for one in series]
    return [points for points in lines if points]


def _columns(points: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [length for length, _ in points], [value for _, value in points]


def _frame(axes: Axes, points: Sequence[tuple[int, int]], lengths: Sequence[int]) -> None:
    """Limits around the points, and grey guides for n and n^2 from below the first of them."""
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
    """Name the guides, each at the place beside it that is farthest from every other line."""

    def pixels(points: Any) -> NDArray[np.float64]:
        return resample(axes.transData.transform(points))

    guides = {
        str(line.get_label()): pixels(line.get_xydata())
        for line in axes.lines
        if line.get_label() in _GUIDES
    }
    for name, own in guides.items():
        others = [line for label, line in guides.items() if label != name]
        place = farthest_point(own + _GUIDE_LABEL_OFFSET, [*map(pixels, lines), *others])
        x, y = axes.transData.inverted().transform(place)
        axes.text(x, y, name, fontsize=9, color="#8A8A8A", ha="center", va="center")


def _ticks(lengths: Sequence[int]) -> list[int]:
    """All lengths, or evenly chosen ones with the ends, where all would overlap."""
    if len(lengths) <= _MAX_TICKS:
        return list(lengths)
    step = (len(lengths) - 1) / (_MAX_TICKS - 1)
    return [lengths[round(index * step)] for index in range(_MAX_TICKS)]


def _label_ends(axes: Axes, panel: _Panel, series: Sequence[Series]) -> None:
    """Each line's name and last exponent to its right, moved apart where they would overlap."""
    ends: list[tuple[float, str, int, tuple[int, int]]] = []
    for index, one in enumerate(series):
        text = _end_label(one, panel)
        if text:
            point = _measured_and_predicted(one, panel)[-1]
            ends.append((float(axes.transData.transform(point)[1]), text, index, point))
    ends.sort()
    line_height = _LABEL_POINTS * _LINE_HEIGHT * axes.figure.dpi / 72
    bottom, top = (float(axes.transAxes.transform((0, y))[1]) for y in (0, 1))
    heights = spread_labels(
        [height for height, *_ in ends],
        [line_height * _lines(text) for _, text, *_ in ends],
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
            fontsize=_LABEL_POINTS,
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
    names = ["true value; n^k at its end is the growth over the last two lengths", "n and n²"]
    hollow = (
        (has_counts, 7.5, "what ptflops counts (default backend)"),
        (has_predictions, 5.5, "predicted, not measured"),
    )
    for is_there, size, name in hollow:
        if is_there:
            handles.append(
                Line2D(
                    [],
                    [],
                    color="#444444",
                    marker="o",
                    markerfacecolor="white",
                    markersize=size,
                    linewidth=1.1,
                    linestyle=_GUESSED,
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
