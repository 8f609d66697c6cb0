"""What the roofline chart shows, as plain data: the machine's roofs, and points below them.

A point is one kernel at one length: the FLOPs that it executes for each of its least bytes, and
those that it reaches in a second. The roof is what the machine allows at an intensity: its matmul
rate, or the rate of its copies. See `attnprof.core.roofline`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from attnprof.core.records import COPY_RATE, MATMUL_RATE, PREDICTED_TIME
from attnprof.core.result_table import Row
from attnprof.core.roofline import FLOPS_PER_MAC
from attnprof.core.units import format_tokens
from attnprof.report.charts.curves import Line, lines_of
from attnprof.report.kernel_styles import KernelStyle
from attnprof.report.run import Run


@dataclass(frozen=True, slots=True)
class Roof:
    """The most that a machine allows in one dtype.

    Attributes:
        name: what tells it from other roofs of the chart; empty for the only one.
        flops_per_s: of one large matrix product.
        bytes_per_s: read and written by a large copy.
    """

    name: str
    flops_per_s: float
    bytes_per_s: float

    @property
    def balance(self) -> float:
        """The intensity in FLOP/B above which products are the limit."""
        return self.flops_per_s / self.bytes_per_s

    def attainable(self, intensity: float) -> float:
        """FLOPs per second at an intensity."""
        return min(self.flops_per_s, self.bytes_per_s * intensity)


@dataclass(frozen=True, slots=True)
class RoofPoint:
    """One kernel at one length.

    Attributes:
        seq_len: the length in tokens.
        intensity: executed FLOPs for each of the least bytes.
        flops_per_s: executed FLOPs per second.
        part: of the matmul rate that these are.
        is_predicted: whether its time was predicted and not measured.
    """

    seq_len: int
    intensity: float
    flops_per_s: float
    part: float
    is_predicted: bool = False


@dataclass(frozen=True, slots=True)
class RoofCurve:
    """The points of one kernel, with one pattern, of one run, by ascending length."""

    label: str
    style: KernelStyle
    points: tuple[RoofPoint, ...]


@dataclass(frozen=True, slots=True)
class Roofline:
    """The roofline chart.

    Attributes:
        roofs: those of the runs that have rates.
        curves: those with points.
        notes: what is not shown, and what cannot be.
    """

    roofs: tuple[Roof, ...]
    curves: tuple[RoofCurve, ...]
    notes: tuple[str, ...]

    @property
    def points(self) -> list[RoofPoint]:
        """The points of all curves."""
        return [point for curve in self.curves for point in curve.points]


def roofline_of(runs: Sequence[Run]) -> Roofline:
    """The roofline chart of some runs; without rates of a machine it has neither roof nor point.

    Times that other work disturbed are left out, as no figure follows from them.
    """
    lines = lines_of(runs, "seq_len")
    curves = [curve for curve in map(_curve, lines) if curve.points]
    return Roofline(tuple(_roofs(runs)), tuple(curves), tuple(_notes(lines, curves)))


def _notes(lines: Sequence[Line], curves: Sequence[RoofCurve]) -> Iterable[str]:
    disturbed = [line.label for line in lines if any(row.withheld for row in line.rows)]
    if disturbed:
        yield f"not shown: times that other work disturbed, of {', '.join(disturbed)}"
    drawn = {curve.label for curve in curves}
    untimed = [line.label for line in lines if line.label not in {*drawn, *disturbed}]
    if untimed and drawn:
        yield f"not shown, without times: {', '.join(untimed)}"
    faults = [
        f"{curve.label} at {format_tokens(point.seq_len)}"
        for curve in curves
        for point in curve.points
        if point.part > 1 and not point.is_predicted
    ]
    if faults:
        yield f"above the matmul rate, so rate or MACs are wrong: {', '.join(faults)}"


def _roofs(runs: Sequence[Run]) -> Iterable[Roof]:
    """The highest rates of each run and dtype; equal ones once."""
    best: dict[tuple[str, str], tuple[float, float]] = {}
    for run in runs:
        for row in run.table.rows:
            rates = _rates(row)
            if rates:
                key = (run.name if len(runs) > 1 else "", row.workload.dtype)
                before = best.get(key, (0.0, 0.0))
                best[key] = max(before[0], rates[0]), max(before[1], rates[1])
    are_equal = len(set(best.values())) == 1
    has_dtypes = len({dtype for _, dtype in best}) > 1
    for (name, dtype), (flops, copied) in list(best.items())[: 1 if are_equal else None]:
        # Settings of a study may be named by their dtypes.
        parts = (name, dtype if has_dtypes and dtype not in name.split(", ") else "")
        yield Roof("" if are_equal else ", ".join(filter(None, parts)), flops, copied)


def _rates(row: Row) -> tuple[float, float] | None:
    macs_per_s, bytes_per_s = row.integer(MATMUL_RATE), row.integer(COPY_RATE)
    if not macs_per_s or not bytes_per_s:
        return None
    return FLOPS_PER_MAC * macs_per_s, bytes_per_s


def _curve(line: Line) -> RoofCurve:
    points = [_point(row) for row in line.rows]
    return RoofCurve(line.label, line.style, tuple(point for point in points if point))


def _point(row: Row) -> RoofPoint | None:
    """The point of a row; None without an undisturbed time, MACs or rates."""
    intensity, executed = row.values.get("intensity"), row.integer("executed_macs")
    measured, rates = row.integer("time_ns"), _rates(row)
    time_ns = measured or row.integer(PREDICTED_TIME)
    if not intensity or not executed or not time_ns or rates is None or row.withheld:
        return None
    flops_per_s = FLOPS_PER_MAC * executed / time_ns * 1e9
    return RoofPoint(
        row.workload.seq_len,
        float(intensity),
        flops_per_s,
        flops_per_s / rates[0],
        is_predicted=measured is None,
    )
