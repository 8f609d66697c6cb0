"""What the growth chart shows, as plain data: panels, their curves, points and marks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from attnprof import kernels
from attnprof.analysis.series import labels
from attnprof.core.records import PREDICTED_TIME, PREDICTED_TIME_HIGH, PREDICTED_TIME_LOW
from attnprof.core.result_table import Row
from attnprof.core.units import format_bytes, format_duration, format_macs
from attnprof.core.workload import Workload
from attnprof.report.charts.crossings import Crossing, crossings_of
from attnprof.report.charts.line_styles import line_styles
from attnprof.report.charts.ticks import Scale
from attnprof.report.kernel_styles import KernelStyle
from attnprof.report.run import Run

Axis = Literal["seq_len", "window", "dilation"]

_AXES: dict[Axis, Callable[[Workload], int | None]] = {
    "seq_len": lambda workload: workload.seq_len,
    "window": lambda workload: _only({layer.window for layer in workload.layers}),
    "dilation": lambda workload: _only(
        {stride for layer in workload.layers for stride in layer.dilation}
    ),
}

_GAP_WORDS = {"oom": "does not fit", "timeout": "timed out", "error": "failed"}
_DOES_NOT_FIT, _NOT_RUN, _NOT_SUPPORTED = "does not fit", "not run", "not supported"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity that has a panel.

    Attributes:
        title: of its panel.
        name: the measured or exact quantity.
        scale: its unit.
        form: its values as text.
        low: beginning of its interval; empty without one.
        high: end of its interval.
        counted: the quantity that ptflops counts of it; empty without one.
        predicted: the prediction that stands in where nothing was measured, and its interval.
    """

    title: str
    name: str
    scale: Scale
    form: Callable[[int], str]
    low: str = ""
    high: str = ""
    counted: str = ""
    predicted: tuple[str, str, str] = ("", "", "")


_QUANTITIES = (
    Quantity(
        "Time of one call",
        "time_ns",
        "ns",
        format_duration,
        low="time_low_ns",
        high="time_high_ns",
        predicted=(PREDICTED_TIME, PREDICTED_TIME_LOW, PREDICTED_TIME_HIGH),
    ),
    Quantity("Executed MACs", "executed_macs", "macs", format_macs, counted="ptflops_pytorch_macs"),
    Quantity(
        "Peak memory",
        "peak_bytes",
        "bytes",
        format_bytes,
        predicted=("predicted_peak_bytes", "", ""),
    ),
    Quantity("Cache that the pattern needs", "cache_bytes", "bytes", format_bytes),
)

_NEVER_MEASURED = ("executed_macs", "cache_bytes")


@dataclass(frozen=True, slots=True)
class Point:
    """A value of one row.

    Attributes:
        x: its length, window or dilation.
        value: in the unit of its quantity.
        seq_len: its length in tokens.
        low: beginning of its interval; None without one.
        high: end of its interval.
        is_predicted: whether it was predicted and not measured.
    """

    x: int
    value: int
    seq_len: int
    low: int | None = None
    high: int | None = None
    is_predicted: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """One kernel, with one pattern, of one run, in one panel.

    Attributes:
        label: its name in the chart.
        series: its name without that of the run.
        kernel: the name of the kernel.
        style: how it is drawn.
        points: in ascending `x`.
        counted: what ptflops counts.
        gaps: `x` of each row without a measured value, and why in a word or two.
        is_level: whether it has no `x`, as dense attention has no window.
    """

    label: str
    series: str
    kernel: str
    style: KernelStyle
    points: tuple[Point, ...] = ()
    counted: tuple[Point, ...] = ()
    gaps: tuple[tuple[int, str], ...] = ()
    is_level: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One quantity of all kernels.

    Attributes:
        quantity: what it shows.
        curves: those that have a point or a gap.
        crossings: where a sparse kernel begins to cost less than the reference.
    """

    quantity: Quantity
    curves: tuple[Curve, ...]
    crossings: tuple[Crossing, ...] = ()

    @property
    def points(self) -> list[Point]:
        """The points of all curves, counted ones included."""
        return [point for curve in self.curves for point in (*curve.points, *curve.counted)]


@dataclass(frozen=True, slots=True)
class Growth:
    """The growth chart.

    Attributes:
        axis: what its curves are drawn against.
        values: of the axis, ascending; with one there is nothing to draw a curve through.
        panels: one for each quantity that has values.
        left_out: what is not shown, and why.
        is_decoding: whether lengths are those of a context whose last tokens are decoded.
    """

    axis: Axis
    values: tuple[int, ...]
    panels: tuple[Panel, ...]
    left_out: tuple[str, ...]
    is_decoding: bool = False

    @property
    def is_bars(self) -> bool:
        """Whether there is only one value, so that bars are drawn and no curves."""
        return len(self.values) < 2


@dataclass(frozen=True, slots=True)
class Line:
    """The rows of one curve, which all panels share."""

    label: str
    series: str
    rows: tuple[Row, ...]
    style: KernelStyle


def growth_of(runs: Sequence[Run]) -> Growth:
    """The growth chart of some runs."""
    rows = [row for run in runs for row in run.table.rows]
    axis = _axis_of(rows)
    left_out = dict.fromkeys(reason for run in runs for reason in _left_out(run))
    lines = lines_of(runs, axis)
    crossings = crossings_of(runs) if axis == "seq_len" else ()
    panels = [_panel(quantity, lines, axis, crossings) for quantity in _QUANTITIES]
    shown = tuple(panel for panel in panels if panel.points)
    is_decoding = any(row.workload.mode == "decode" for row in rows)
    return Growth(axis, _axis_values(shown), shown, tuple(left_out), is_decoding)


def _axis_values(panels: Sequence[Panel]) -> tuple[int, ...]:
    """The values of the axis, ascending; levels have none."""
    curves = [curve for panel in panels for curve in panel.curves if not curve.is_level]
    values = {point.x for curve in curves for point in (*curve.points, *curve.counted)}
    values |= {x for curve in curves for x, _ in curve.gaps}
    return tuple(sorted(values))


def lines_of(runs: Sequence[Run], axis: Axis) -> list[Line]:
    """The rows of each curve: of one run, kernel and pattern, in the order of their first rows."""
    groups: dict[tuple[int, str], list[Row]] = {}
    for index, run in enumerate(runs):
        label_of = labels(run.table, without="" if axis == "seq_len" else axis)
        for row in run.table.rows:
            if row.status != "wrong" and not _reason_left_out(row):
                groups.setdefault((index, label_of(row)), []).append(row)
    keys = [(rows[0].kernel, label, index) for (index, label), rows in groups.items()]
    styles = line_styles(keys, num_runs=len(runs))
    lines: list[Line] = []
    for ((index, label), rows), style in zip(groups.items(), styles, strict=True):
        name = f"{label}, {runs[index].name}" if len(runs) > 1 else label
        lines.append(Line(name, label, tuple(sorted(rows, key=lambda row: _x(row, axis))), style))
    return lines


def _axis_of(rows: Sequence[Row]) -> Axis:
    """The length; at one length the window or the dilation, where some kernel has several."""
    if len({row.workload.seq_len for row in rows}) > 1:
        return "seq_len"
    sparse = [row.workload for row in rows if not row.workload.is_dense]
    for axis in ("window", "dilation"):
        values = {_AXES[axis](workload) for workload in sparse}
        if len(values) > 1 and None not in values:
            return axis
    return "seq_len"


def _only(values: set[int | None]) -> int | None:
    return next(iter(values)) if len(values) == 1 else None


def _x(row: Row, axis: Axis) -> int:
    return (None if _is_level(row, axis) else _AXES[axis](row.workload)) or 0


def _is_level(row: Row, axis: Axis) -> bool:
    return axis != "seq_len" and row.workload.is_dense


def _left_out(run: Run) -> Iterable[str]:
    """The series that are not drawn: their patterns are not supported, their output is wrong."""
    label_of = labels(run.table)
    for row in run.table.rows:
        reason = "wrong output" if row.status == "wrong" else _reason_left_out(row)
        if reason:
            yield f"{label_of(row)}: {reason}"


def _reason_left_out(row: Row) -> str:
    """Why a kernel cannot run a pattern at any length; empty if it can."""
    if row.status != "unsupported" or kernels.is_custom(row.kernel):
        return ""
    return _NOT_SUPPORTED if row.integer("executed_macs") is None else ""


def _panel(
    quantity: Quantity, lines: Sequence[Line], axis: Axis, crossings: Sequence[Crossing]
) -> Panel:
    curves = [_curve(quantity, line, axis) for line in lines]
    shown = _merged([curve for curve in curves if curve.points or curve.gaps])
    drawn = {
        label: curve for curve in shown if curve.points for label in (curve.label, curve.series)
    }
    return Panel(
        quantity,
        tuple(shown),
        tuple(
            replace(crossing, colour=drawn[crossing.label].style.colour)
            for crossing in crossings
            if crossing.quantity == quantity.name and crossing.label in drawn
        ),
    )


def _merged(curves: Sequence[Curve]) -> list[Curve]:
    """The curves; of one series that is the same in all runs, only the first, without its run."""
    by_series: dict[str, list[Curve]] = {}
    for curve in curves:
        by_series.setdefault(curve.series, []).append(curve)
    merged: list[Curve] = []
    for series, group in by_series.items():
        are_equal = all((c.points, c.gaps) == (group[0].points, group[0].gaps) for c in group)
        merged += [replace(group[0], label=series)] if are_equal else group
    return merged


def _curve(quantity: Quantity, line: Line, axis: Axis) -> Curve:
    points = [_point(row, quantity, axis) for row in line.rows]
    counted = [_counted(row, quantity, axis) for row in line.rows if quantity.counted]
    gaps = [(_x(row, axis), _gap_word(row, quantity)) for row in line.rows]
    return Curve(
        line.label,
        line.series,
        line.rows[0].kernel,
        line.style,
        tuple(point for point in points if point and point.value > 0),
        tuple(point for point in counted if point and point.value > 0),
        tuple((x, word) for x, word in gaps if word),
        _is_level(line.rows[0], axis),
    )


def _point(row: Row, quantity: Quantity, axis: Axis) -> Point | None:
    names = (quantity.name, quantity.low, quantity.high)
    is_predicted = row.integer(quantity.name) is None
    value, low, high = map(row.integer, quantity.predicted if is_predicted else names)
    if value is None:
        return None
    return Point(_x(row, axis), value, row.workload.seq_len, low, high, is_predicted)


def _counted(row: Row, quantity: Quantity, axis: Axis) -> Point | None:
    value = row.integer(quantity.counted)
    return None if value is None else Point(_x(row, axis), value, row.workload.seq_len)


def _gap_word(row: Row, quantity: Quantity) -> str:
    """Why a row has no measured value; empty where it has one, or where none was wanted."""
    if quantity.name in _NEVER_MEASURED or row.integer(quantity.name) is not None:
        return ""
    if row.status == "skipped":
        return _DOES_NOT_FIT if row.detail.startswith("needs") else _NOT_RUN
    if row.status == "unsupported":
        return _NOT_SUPPORTED
    return _GAP_WORDS.get(row.status, "")
