"""The layout of the chart: its panels, their points and labels, and where the axes are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from attnprof.analysis.series import Series
from attnprof.core.growth.polynomial import doubling_exponent
from attnprof.core.records import PREDICTED_TIME
from attnprof.core.units import format_bytes, format_duration, format_macs

Point = tuple[int, int]
"""(length in tokens, value)."""

LABEL_POINTS = 8.5
LINE_HEIGHT = 1.45
"""Distance between two labels, in units of their letters' size."""

EDGE = 0.1
"""Margin of the figure, in inches; so are all sizes below. A panel is its axes, the numbers to the
left and the labels to the right of them."""

_AXES_WIDTH, _MIN_AXES_HEIGHT = 2.9, 3.0
_NUMBERS, _ABOVE, _BELOW = 0.85, 0.95, 0.95
_LETTER = 0.55 * LABEL_POINTS / 72
_LABEL_GAP = 0.3
_MIN_WIDTH = 8.6


@dataclass(frozen=True, slots=True)
class Panel:
    """One quantity over length.

    Attributes:
        title: above the axes.
        quantity: the measured or exact quantity.
        form: its values as text.
        counted: the quantity that ptflops counts of it; None without one.
        predicted: the quantity of its predictions; None without one.
        log_base: of the vertical axis.
    """

    title: str
    quantity: str
    form: Callable[[int], str]
    counted: str | None = None
    predicted: str | None = None
    log_base: int = 10

    def tick(self, value: float, _: int) -> str:
        """A label of the vertical axis, without trailing zeros: ticks are round numbers."""
        number, unit = self.form(round(value)).split(" ")
        return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"


_PANELS = (
    Panel("Executed MACs", "executed_macs", format_macs, counted="ptflops_pytorch_macs"),
    Panel("Peak memory", "peak_bytes", format_bytes, log_base=2),
    Panel("Predicted peak memory", "predicted_peak_bytes", format_bytes, log_base=2),
    Panel("Time of one call", "time_ns", format_duration, predicted=PREDICTED_TIME),
)


def panels_of(series: Sequence[Series]) -> list[Panel]:
    """The panels that have points; predicted memory only where none was measured."""
    panels = [
        panel
        for panel in _PANELS
        if any(measured_and_predicted(member, panel) for member in series)
    ]
    if any(panel.quantity == "peak_bytes" for panel in panels):
        panels = [panel for panel in panels if panel.quantity != "predicted_peak_bytes"]
    return panels


def lay_out(panels: Sequence[Panel], series: Sequence[Series]) -> tuple[Figure, list[Axes]]:
    """A figure with axes for each panel, and room beside them for all labels in a column."""
    labels = [end_label(member, panel) for panel in panels for member in series]
    longest = max((len(line) for label in labels for line in label.split("\n")), default=0)
    lines = max(
        (sum(line_count(end_label(member, panel)) for member in series) for panel in panels),
        default=0,
    )
    gutter = _LABEL_GAP + longest * _LETTER
    axes_height = max(_MIN_AXES_HEIGHT, lines * LABEL_POINTS * LINE_HEIGHT / 72)
    panel_width = _NUMBERS + _AXES_WIDTH + gutter
    width = max(_MIN_WIDTH, EDGE + panel_width * len(panels))
    height = _ABOVE + axes_height + _BELOW
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    grid = [
        figure.add_axes(
            (
                (EDGE + _NUMBERS + panel_width * index) / width,
                _BELOW / height,
                _AXES_WIDTH / width,
                axes_height / height,
            )
        )
        for index in range(len(panels))
    ]
    return figure, grid


def points_of(series: Series, quantity: str) -> list[Point]:
    """The points that a logarithmic axis can show: values above 0."""
    return [(length, value) for length, value in series.points(quantity) if value > 0]


def predicted_points(series: Series, panel: Panel) -> list[Point]:
    """Predictions, with the last measured point before them so that the lines are joined."""
    points = points_of(series, panel.predicted) if panel.predicted else []
    measured = [
        point for point in points_of(series, panel.quantity) if points and point < points[0]
    ]
    return measured[-1:] + points


def measured_and_predicted(series: Series, panel: Panel) -> list[Point]:
    """Measured points, and predictions where nothing was measured."""
    return sorted({*points_of(series, panel.quantity), *predicted_points(series, panel)})


def all_points(panel: Panel, series: Sequence[Series]) -> list[list[Point]]:
    """The points of every line of a panel."""
    quantities = [panel.quantity, *([panel.counted] if panel.counted else [])]
    lines = [points_of(member, quantity) for member in series for quantity in quantities]
    lines += [predicted_points(member, panel) for member in series]
    return [points for points in lines if points]


def end_label(series: Series, panel: Panel) -> str:
    """A series' name and its growth over the last two lengths; empty without points."""
    points = points_of(series, panel.quantity) or predicted_points(series, panel)
    if not points:
        return ""
    text = series.label.replace(" ", "\n", 1)
    if len(points) > 1:
        text += f"  n^{doubling_exponent(points[-2], points[-1]):.2f}"
    return text


def line_count(text: str) -> int:
    """Lines of a label; 0 of an empty one."""
    return 1 + text.count("\n") if text else 0
