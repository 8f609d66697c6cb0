"""The table of all rows: formatted for readers, sorted by raw values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from attnprof.analysis.series import labels
from attnprof.core.records import COLUMN_UNITS, PREDICTED_TIME
from attnprof.core.result_table import Row
from attnprof.core.roofline import bound
from attnprof.core.units import (
    format_bytes,
    format_count,
    format_duration,
    format_intensity,
    format_long_duration,
    format_macs,
    format_percent,
    format_ratio,
    format_share,
)
from attnprof.report.columns import EMPTY
from attnprof.report.page.content import Cell, Heading, Table
from attnprof.report.run import Run

_FORMS: Mapping[str, Callable[[int], str]] = {
    "MAC": lambda macs: format_macs(macs, unit=""),
    "B": format_bytes,
    "ns": format_duration,
    "parameters": format_count,
}
"""How values are formatted, by their unit."""

_NAMES = {
    "useful_macs": "useful MACs",
    "executed_macs": "executed MACs",
    "ptflops_pytorch_macs": "ptflops counts",
    "ptflops_aten_macs": "aten counts",
    "torch_macs": "torch counts",
    "operator_macs": "operator level",
    "predicted_peak_bytes": "predicted peak",
    "peak_bytes": "peak memory",
    "time_ns": "time",
    PREDICTED_TIME: "predicted time",
    "min_bytes": "least bytes",
    "intensity": "FLOP/B",
    "utilisation": "utilisation",
    "useful_utilisation": "useful utilisation",
    "params": "parameters",
}
"""Quantities in words, in the order of the columns."""

_HINTS = {
    "useful_macs": "multiply-accumulates that the pattern needs",
    "executed_macs": "multiply-accumulates that the kernel does",
    "ptflops_pytorch_macs": "counted by ptflops, default backend",
    "ptflops_aten_macs": "counted by ptflops, aten backend",
    "torch_macs": "counted by torch's FlopCounterMode",
    "operator_macs": "counted operator by operator",
    "peak_bytes": "most bytes allocated at one time by the call",
    "time_ns": "median of one call",
    "min_bytes": "inputs, weights and outputs, each moved once",
    "intensity": "executed FLOPs for each of the least bytes",
    "utilisation": "part of the machine's matmul rate that executed MACs reach",
    "useful_utilisation": "part of the machine's matmul rate that useful MACs reach",
}

_BOUND = "whether products or memory limit the call at best, by this machine's rates"


@dataclass(frozen=True, slots=True)
class _Column:
    heading: Heading
    cell: Callable[[Row], Cell]


def result_table(runs: Sequence[Run], markers: Mapping[str, Markup]) -> Table:
    """All rows of all runs, with the columns in which a row has a value.

    Args:
        runs: their names are a column where there are several.
        markers: by kernel.
    """
    shown = [(run, row) for run in runs for row in run.table.rows]
    columns = [
        column for column in _columns() if any(column.cell(row).text != EMPTY for _, row in shown)
    ]
    label_of = {id(run): labels(run.table) for run in runs}
    rows: list[tuple[Cell, ...]] = []
    for run, row in shown:
        label = label_of[id(run)](row)
        leading = [Cell(label, label, markers[row.kernel])]
        if len(runs) > 1:
            leading.append(Cell(run.name, run.name))
        rows.append((*leading, *(column.cell(row) for column in columns)))
    headings = [Heading("kernel", "left")]
    if len(runs) > 1:
        headings.append(Heading("run", "left"))
    headings += [column.heading for column in columns]
    return Table("All results", tuple(headings), tuple(rows))


def _columns() -> list[_Column]:
    return [
        _Column(Heading("tokens"), _tokens),
        _Column(Heading("status", "left"), lambda row: Cell(row.status, row.status)),
        *(_quantity(name) for name in ("useful_macs", "executed_macs")),
        _Column(Heading("executed / useful", hint="above 1: blocks and padding"), _overhead),
        _quantity("ptflops_pytorch_macs"),
        _Column(Heading("share", hint="of executed MACs that ptflops counts"), _share),
        *(_quantity(name) for name in ("ptflops_aten_macs", "torch_macs", "operator_macs")),
        *(_quantity(name) for name in ("predicted_peak_bytes", "peak_bytes")),
        _quantity("time_ns"),
        _Column(Heading("99 % interval", hint="of the time"), _interval),
        _Column(Heading("speed", hint="against bert-sdpa at the same length"), _speed),
        _Column(Heading("verdict", "left"), _verdict),
        _quantity(PREDICTED_TIME),
        _quantity("min_bytes"),
        _fraction("intensity", format_intensity),
        _Column(Heading("bound", "left", _BOUND), _bound),
        _fraction("utilisation", format_percent),
        _fraction("useful_utilisation", format_percent),
        _quantity("params"),
        _Column(
            Heading("machine", "left"), lambda row: Cell(row.machine or EMPTY, row.machine or None)
        ),
    ]


def _quantity(name: str) -> _Column:
    def cell(row: Row) -> Cell:
        value = row.integer(name)
        return Cell(EMPTY) if value is None else Cell(_format_quantity(name, value), value)

    return _Column(Heading(_NAMES[name], hint=_HINTS.get(name, "")), cell)


def _fraction(name: str, form: Callable[[float], str]) -> _Column:
    def cell(row: Row) -> Cell:
        value = row.values.get(name)
        return Cell(EMPTY) if value is None else Cell(form(value), value)

    return _Column(Heading(_NAMES[name], hint=_HINTS[name]), cell)


def _bound(row: Row) -> Cell:
    limit = bound(row.values)
    return Cell(limit, limit) if limit else Cell(EMPTY)


def _format_quantity(quantity: str, value: int) -> str:
    if quantity == PREDICTED_TIME:
        return f"≈ {format_long_duration(value)}"
    return _FORMS[COLUMN_UNITS[quantity]](value)


def _tokens(row: Row) -> Cell:
    return Cell(format_count(row.workload.seq_len), row.workload.seq_len)


def _overhead(row: Row) -> Cell:
    useful, executed = row.integer("useful_macs"), row.integer("executed_macs")
    if not useful or executed is None:
        return Cell(EMPTY)
    return Cell(format_ratio(executed / useful), executed / useful)


def _share(row: Row) -> Cell:
    counted, executed = row.integer("ptflops_pytorch_macs"), row.integer("executed_macs")
    if counted is None or not executed:
        return Cell(EMPTY)
    return Cell(format_share(counted, executed), counted / executed)


def _interval(row: Row) -> Cell:
    low, high = row.integer("time_low_ns"), row.integer("time_high_ns")
    if low is None or high is None:
        return Cell(EMPTY)
    return Cell(f"{format_duration(low)} to {format_duration(high)}", low)


def _speed(row: Row) -> Cell:
    speedup = row.values.get("speedup")
    return Cell(EMPTY) if speedup is None else Cell(format_ratio(speedup), speedup)


def _verdict(row: Row) -> Cell:
    verdict = row.verdict
    return Cell(EMPTY) if verdict is None else Cell(verdict.outcome, verdict.outcome)
