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

from attnprof.growth import doubling_exponent
from attnprof.records import ResultTable
from attnprof.render.words import describe_setting
from attnprof.series import Series, series_of
from attnprof.units import format_bytes, format_count, format_duration, format_macs

# Okabe and Ito's palette without its yellow; marker and dash repeat what the colour says, for
# readers and printers that see none.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1)), (0, (3, 1, 1, 1)), "-")

_GUIDE = "#B8B8B8"
_LABEL_POINTS = 8.5
_LINE_HEIGHT = 1.45
"""Distance between two labels, in units of their letters' size."""
_MAX_TICKS = 6


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    quantity: str
    form: Callable[[int], str]
    counted: str | None = None

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
    _Panel("Time of one call", "time_ns", format_duration),
)


def render_png(table: ResultTable) -> bytes:
    """A PNG with a panel for each quantity that the table has."""
    series = [one for one in series_of(table) if one.is_supported]
    panels = [panel for panel in _PANELS if any(one.points(panel.quantity) for one in series)]
    if any(panel.quantity == "peak_bytes" for panel in panels):
        panels = [panel for panel in panels if panel.quantity != "predicted_peak_bytes"]
    figure = Figure(figsize=(4.9 * max(1, len(panels)) + 0.3, 4.7), dpi=150)
    FigureCanvasAgg(figure)
    grid: Any = figure.subplots(1, max(1, len(panels)), squeeze=False)
    figure.subplots_adjust(left=0.062, right=0.885, top=0.80, bottom=0.19, wspace=0.74)
    for axes, panel in zip(grid[0], panels, strict=False):
        _draw(axes, panel, series)
    if not panels:
        grid[0][0].set_axis_off()
        grid[0][0].text(0.5, 0.5, "no kernel could be run", ha="center", va="center")
    figure.suptitle(
        "What attention costs, and how the cost grows with length",
        x=0.012,
        y=0.965,
        ha="left",
        fontsize=13,
        fontweight="bold",
    )
    figure.text(0.012, 0.885, describe_setting(table), ha="left", fontsize=9, color="#555555")
    _legend(figure, has_counts=any(one.points("ptflops_pytorch_macs") for one in series))
    for axes, panel in zip(grid[0], panels, strict=False):
        _label_ends(axes, panel, series)
        _label_guides(axes, _all_points(panel, series))
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _style(index: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _DASHES[index % len(_DASHES)],
    }


def _draw(axes: Axes, panel: _Panel, series: Sequence[Series]) -> None:
    """The lines of one panel; counted values are hollow and dotted."""
    everything: list[tuple[int, int]] = []
    for index, one in enumerate(series):
        points = one.points(panel.quantity)
        counted = one.points(panel.counted) if panel.counted else []
        everything += points + counted
        style = _style(index)
        if points:
            axes.plot(*_columns(points), linewidth=1.8, markersize=5.5, **style)
        if counted:
            style |= {"linestyle": (0, (1, 2.2)), "markerfacecolor": "white", "markersize": 7.5}
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
    lines = [one.points(quantity) for one in series for quantity in quantities]
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
    for power, name in ((1, "n"), (2, "n²")):
        end = min(last, first * (axes.get_ylim()[1] / begin) ** (1 / power))
        values = (begin, begin * (end / first) ** power)
        axes.plot((first, end), values, color=_GUIDE, linewidth=1.0, zorder=1, label=name)


def _label_guides(axes: Axes, series_points: Sequence[Sequence[tuple[int, int]]]) -> None:
    """Name the guides, each at the place on it that is farthest from every other line."""
    guides = [line for line in axes.lines if line.get_label() in ("n", "n²")]
    lines = [_on_screen(axes, points) for points in series_points]
    for guide in guides:
        own = _on_screen(axes, list(guide.get_xydata()))  # type: ignore[arg-type]
        others = [
            _on_screen(axes, list(other.get_xydata()))  # type: ignore[arg-type]
            for other in guides
            if other is not guide
        ]
        offset = np.array((10.0, -14.0))
        obstacles = np.concatenate([*lines, *others])
        places = own[len(own) // 5 : -len(own) // 10] + offset
        distances = np.linalg.norm(places[:, None] - obstacles[None], axis=2).min(axis=1)
        x, y = axes.transData.inverted().transform(places[int(distances.argmax())])
        axes.text(
            x, y, str(guide.get_label()), fontsize=9, color="#8A8A8A", ha="center", va="center"
        )


def _on_screen(axes: Axes, points: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """A line's points in pixels, with more of them between each two: `(count, 2)`."""
    pixels = np.asarray(axes.transData.transform(points), dtype=np.float64)
    steps = np.linspace(0, len(pixels) - 1, 60)
    index = np.arange(len(pixels))
    return np.stack([np.interp(steps, index, pixels[:, axis]) for axis in (0, 1)], axis=1)


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
        points = one.points(panel.quantity)
        if points:
            text = one.label.replace(" ", "\n", 1)
            if len(points) > 1 and points[-2][1] and points[-1][1]:
                text += f"  n^{doubling_exponent(points[-2], points[-1]):.2f}"
            height = float(axes.transData.transform(points[-1])[1])
            ends.append((height, text, index, points[-1]))
    ends.sort()
    pixels = _LABEL_POINTS * _LINE_HEIGHT * axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    heights = _apart(
        [height for height, *_ in ends],
        [pixels * (1 + text.count("\n")) for _, text, *_ in ends],
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
            arrowprops={"arrowstyle": "-", "color": "#BBBBBB", "linewidth": 0.7, "shrinkB": 4},
        )


def _apart(heights: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Ascending heights moved as little as it takes for labels of these sizes not to overlap.

    Labels that touch form a block around the mean of where its labels want to be.
    """
    blocks: list[tuple[list[float], list[float]]] = []

    def place(wanted: Sequence[float], own: Sequence[float]) -> list[float]:
        offsets, top = [], 0.0
        for size in own:
            offsets.append(top + size / 2)
            top += size
        shift = sum(w - o for w, o in zip(wanted, offsets, strict=True)) / len(wanted)
        return [offset + shift for offset in offsets]

    def end(block: tuple[list[float], list[float]]) -> float:
        return place(*block)[-1] + block[1][-1] / 2

    def begin(block: tuple[list[float], list[float]]) -> float:
        return place(*block)[0] - block[1][0] / 2

    for height, size in zip(heights, sizes, strict=True):
        blocks.append(([height], [size]))
        while len(blocks) > 1 and end(blocks[-2]) > begin(blocks[-1]):
            upper = blocks.pop()
            lower = blocks.pop()
            blocks.append((lower[0] + upper[0], lower[1] + upper[1]))
    return [height for block in blocks for height in place(*block)]


def _legend(figure: Figure, *, has_counts: bool) -> None:
    handles = [
        Line2D([], [], color="#444444", marker="o", markersize=5.5, linewidth=1.8),
        Line2D([], [], color=_GUIDE, linewidth=1.0),
    ]
    names = ["true value; n^k at its end is the growth over the last two lengths", "n and n²"]
    if has_counts:
        handles.append(
            Line2D(
                [],
                [],
                color="#444444",
                marker="o",
                markerfacecolor="white",
                markersize=7.5,
                linewidth=1.1,
                linestyle=(0, (1, 2.2)),
            )
        )
        names.append("what ptflops counts (default backend)")
    figure.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(0.006, 0.0),
        ncols=3,
        fontsize=8.5,
        frameon=False,
        handlelength=2.8,
    )
