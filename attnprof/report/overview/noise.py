"""What disturbed the times, in one line for all rows together."""

from __future__ import annotations

import re

from attnprof.core.result_table import Row
from attnprof.core.units import format_count, format_percent
from attnprof.report.overview.results import Results
from attnprof.report.phrases import join_lengths

_WIDE = 0.1
"""An interval is worth mentioning if it is wider than ± this part of its median."""

_PARENTHESES = re.compile(r" \((?:[^()]|\([^()]*\))*\)")


def noise_line(results: Results) -> str:
    """The load that withheld verdicts and the widest interval; empty if there is neither."""
    withheld, widest = _withheld(results), _widest(results)
    if withheld:
        widest = widest.partition(" (")[0]
    elif widest:
        widest += "; raise --max-seconds"
    parts = [part for part in (withheld, widest) if part]
    return f"noise: {'; '.join(parts)}" if parts else ""


def is_quiet(results: Results) -> bool:
    """Whether times were measured, and nothing is to be said of their noise."""
    return results.is_timed and not noise_line(results)


def _rows(results: Results) -> list[tuple[str, Row]]:
    return [
        (results.names[series.label], row)
        for series in results.series
        for row in series.rows
        if "time_ns" in row.values
    ]


def _withheld(results: Results) -> str:
    by_length = {row.workload.seq_len: row.withheld for _, row in _rows(results) if row.withheld}
    if not by_length:
        return ""
    cause = _cause(next(iter(by_length.values())))
    return f"{cause} at {join_lengths(sorted(by_length), results.lengths)}"


def _cause(reason: str) -> str:
    """The cause without the advice and the names of processes: --details has them."""
    text = reason.removeprefix("not measurable now: ").partition(";")[0]
    return _PARENTHESES.sub("", text)


def _widest(results: Results) -> str:
    widths = [(_half_width(row), name, row) for name, row in _rows(results) if not row.withheld]
    if not widths:
        return ""
    width, name, row = max(widths, key=lambda entry: entry[0])
    if width < _WIDE:
        return ""
    return f"times up to ±{format_percent(width)} ({name} at {format_count(row.workload.seq_len)})"


def _half_width(row: Row) -> float:
    time = row.values["time_ns"]
    low, high = row.values.get("time_low_ns", time), row.values.get("time_high_ns", time)
    return (high - low) / time / 2
