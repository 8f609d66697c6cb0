"""Several runs side by side: a table for each cost, a column for each run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from attnprof.analysis.series import labels
from attnprof.core.notation import format_dilation, format_global_tokens, format_window
from attnprof.core.records import PREDICTED_TIME, PREDICTED_TIME_HIGH, PREDICTED_TIME_LOW
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.units import (
    format_bytes,
    format_count,
    format_long_duration,
    format_macs,
    format_ratio,
)
from attnprof.report.columns import EMPTY, UNDECIDED
from attnprof.report.overview.model import OverviewTable
from attnprof.report.run import Run
from attnprof.report.run_facts import describe_run
from attnprof.report.setting import describe_call, describe_pattern_briefly

_Key = tuple[str, str, str, str, str, int, int]
"""What is compared: a kernel on a pattern at a length, whatever the machine and the dtype."""


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Several runs, all as text.

    Attributes:
        settings: what was compared: one line for all runs, or one for each.
        runs: the name of each run, and its machine and time.
        tables: a cost each; each cell has the ratio to the first run.
        legend: what ratios and marks mean.
    """

    settings: tuple[str, ...]
    runs: tuple[tuple[str, str], ...]
    tables: tuple[OverviewTable, ...]
    legend: str


@dataclass(frozen=True, slots=True)
class _Cost:
    """A cost of a row: its value, its interval if it was measured, and how it is shown."""

    value: int
    text: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class _Quantity:
    heading: str
    cost_of: Callable[[Row], _Cost | None]


def side_by_side(runs: Sequence[Run]) -> SideBySide:
    """Times, peaks and executed MACs of several runs; MACs only where they differ or stand alone.

    Args:
        runs: two or more, each with a name.
    """
    times, peaks, macs = (_table(quantity, runs) for quantity in _QUANTITIES)
    has_measured = bool(times.rows or peaks.rows)
    tables = [table for table in (times, peaks) if table.rows]
    if not has_measured or _differ(runs):
        tables.append(macs)
    return SideBySide(
        settings=_settings(runs),
        runs=tuple((run.name, describe_run(run.table)) for run in runs),
        tables=tuple(tables),
        legend=_legend(tables, runs[0].name),
    )


def _settings(runs: Sequence[Run]) -> tuple[str, ...]:
    texts = [
        "; ".join(filter(None, (describe_call(run.table), describe_pattern_briefly(run.table))))
        for run in runs
    ]
    if len(set(texts)) == 1:
        return (texts[0],)
    return tuple(f"{run.name}: {text}" for run, text in zip(runs, texts, strict=True))


def _legend(tables: Iterable[OverviewTable], first: str) -> str:
    cells = [cell for table in tables for row in table.rows for cell in row]
    parts = [f"x: cost divided by that of {first}"]
    if any(UNDECIDED in cell for cell in cells):
        parts.append(f"{UNDECIDED} the two intervals overlap")
    if any("≈" in cell for cell in cells):
        parts.append("≈ predicted, not measured")
    return "; ".join(parts)


def _table(quantity: _Quantity, runs: Sequence[Run]) -> OverviewTable:
    """A row for each kernel, pattern and length that a run has the cost of."""
    label_of = labels(ResultTable(record for run in runs for record in run.table.records))
    by_run = [{_key(row): row for row in run.table.rows} for run in runs]
    every: dict[_Key, Row] = {}
    for rows in by_run:
        for key, row in rows.items():
            every.setdefault(key, row)
    lines: list[tuple[str, ...]] = []
    for key, row in sorted(every.items(), key=lambda item: _order(item[0], every)):
        found = [known.get(key) for known in by_run]
        costs = [None if each is None else quantity.cost_of(each) for each in found]
        if any(costs):
            cells = map(_cell, found, costs, [costs[0]] * len(costs))
            lines.append((label_of(row), format_count(row.workload.seq_len), *cells))
    return OverviewTable(quantity.heading, ("tokens", *(run.name for run in runs)), tuple(lines))


def _key(row: Row) -> _Key:
    workload = row.workload
    return (
        row.kernel,
        format_window(workload.pattern),
        format_dilation(workload.pattern),
        format_global_tokens(workload.pattern),
        workload.scope,
        len(workload.layers),
        workload.seq_len,
    )


def _order(key: _Key, every: Iterable[_Key]) -> tuple[int, int]:
    """By kernel and pattern, in the order of the rows, then by length."""
    series = list(dict.fromkeys(known[:-1] for known in every))
    return series.index(key[:-1]), key[-1]


def _cell(row: Row | None, cost: _Cost | None, first: _Cost | None) -> str:
    """The cost and its ratio to that of the first run."""
    if cost is None:
        return EMPTY if row is None or row.status == "ok" else row.status
    if first is None or first is cost or not first.value:
        return cost.text
    mark = UNDECIDED if cost.low <= first.high and first.low <= cost.high else ""
    is_exact = cost.low == cost.high and first.low == first.high
    return f"{cost.text} {'' if is_exact else mark}{format_ratio(cost.value / first.value)}"


def _time(row: Row) -> _Cost | None:
    for prefix, names in (
        ("", ("time_ns", "time_low_ns", "time_high_ns")),
        ("≈ ", (PREDICTED_TIME, PREDICTED_TIME_LOW, PREDICTED_TIME_HIGH)),
    ):
        time = row.integer(names[0])
        if time is not None:
            low, high = (row.integer(name) for name in names[1:])
            text = f"{prefix}{format_long_duration(time)}"
            return _Cost(time, text, time if low is None else low, time if high is None else high)
    return None


def _exact(quantity: str, form: Callable[[int], str]) -> Callable[[Row], _Cost | None]:
    def cost_of(row: Row) -> _Cost | None:
        value = row.integer(quantity)
        return None if value is None else _Cost(value, form(value), value, value)

    return cost_of


def _differ(runs: Sequence[Run]) -> bool:
    """Whether a kernel executes other MACs in one run than in another."""
    known: dict[_Key, set[int | None]] = {}
    for run in runs:
        for row in run.table.rows:
            known.setdefault(_key(row), set()).add(row.integer("executed_macs"))
    return any(len(values) > 1 for values in known.values())


_QUANTITIES = (
    _Quantity("time", _time),
    _Quantity("peak memory", _exact("peak_bytes", format_bytes)),
    _Quantity("executed MACs", _exact("executed_macs", lambda macs: format_macs(macs, unit=""))),
)
