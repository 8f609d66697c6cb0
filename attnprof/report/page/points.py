"""What the points of charts show when a reader is on them."""

from __future__ import annotations

from collections.abc import Sequence

from attnprof.analysis.series import labels
from attnprof.core.result_table import Row
from attnprof.core.units import format_count, format_duration, format_ratio, format_share
from attnprof.report.page.result_rows import NAMES, format_quantity
from attnprof.report.run import Run


def point_texts(runs: Sequence[Run]) -> dict[str, str]:
    """The text of each point, by `run|series|quantity|length`.

    Args:
        runs: those of the charts.
    """
    texts: dict[str, str] = {}
    for run in runs:
        label_of = labels(run.table)
        for row in run.table.rows:
            for quantity in NAMES:
                value = row.integer(quantity)
                if value is not None:
                    key = f"{run.name}|{label_of(row)}|{quantity}|{row.workload.seq_len}"
                    texts[key] = _text(row, quantity, value)
    return texts


def _text(row: Row, quantity: str, value: int) -> str:
    tokens = f"{format_count(row.workload.seq_len)} tokens"
    extra = _extra(row, quantity, value)
    text = f"{format_quantity(quantity, value)} {NAMES[quantity]}, {tokens}"
    return f"{text}\n{extra}" if extra else text


def _extra(row: Row, quantity: str, value: int) -> str:
    """A second line: the interval of a time, the share that a counter counts."""
    if quantity == "time_ns":
        low, high = row.integer("time_low_ns"), row.integer("time_high_ns")
        speed = row.values.get("speedup")
        parts = [
            f"99 % interval {format_duration(low)} to {format_duration(high)}"
            if low is not None and high is not None
            else "",
            f"{format_ratio(speed)} bert-sdpa's speed" if speed else "",
        ]
        return ", ".join(part for part in parts if part)
    executed = row.integer("executed_macs")
    if quantity.startswith("ptflops") and executed:
        return f"{format_share(value, executed)} of the executed MACs"
    return ""
