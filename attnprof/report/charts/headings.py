"""The headings of charts: what they show, and the setting that it holds for."""

from __future__ import annotations

from collections.abc import Sequence

from attnprof.core.units import format_count
from attnprof.report.charts.curves import Growth
from attnprof.report.run import Run
from attnprof.report.setting import describe_setting, describe_subject

_AGAINST = {"seq_len": "length", "window": "window", "dilation": "dilation"}


def growth_heading(runs: Sequence[Run], growth: Growth) -> str:
    """Such as `Self-attention: time, MACs and memory against length`."""
    words = {"time_ns": "time", "executed_macs": "MACs", "peak_bytes": "memory"}
    names = [words[panel.quantity.name] for panel in growth.panels] or ["costs"]
    subject = " and ".join(dict.fromkeys(describe_subject(run.table) for run in runs))
    costs = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    lengths = {row.workload.seq_len for run in runs for row in run.table.rows}
    at = f" at {format_count(min(lengths))} tokens" if len(lengths) == 1 else ""
    if len(growth.values) < 2:
        return f"{subject}: {costs}{at}"
    return f"{subject}: {costs} against {_AGAINST[growth.axis]}{at}"


def setting_of(runs: Sequence[Run]) -> str:
    """Shape, pattern and processor of the runs."""
    settings = dict.fromkeys(_setting(run) for run in runs)
    return " | ".join(settings)


def _setting(run: Run) -> str:
    setting = describe_setting(run.table)
    environment = run.table.environment or {}
    if any(row.workload.device == "cuda" for row in run.table.rows):
        machine = environment.get("gpu")
    else:
        parts = (environment.get("processor"), _threads(environment.get("threads")))
        machine = ", ".join(str(part) for part in parts if part)
    return f"{setting}; {machine}" if machine else setting


def _threads(count: object) -> str:
    return f"{count} thread{'' if count == 1 else 's'}" if count else ""
