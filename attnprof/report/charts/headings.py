"""The headings of charts: what they show, and the setting that it holds for."""

from __future__ import annotations

from collections.abc import Sequence

from attnprof.core.units import format_tokens
from attnprof.report.charts.curves import Growth
from attnprof.report.run import Run
from attnprof.report.setting import describe_setting, describe_subject

_AGAINST = {"seq_len": "length", "window": "window", "dilation": "dilation"}
_COSTS = {"time_ns": "time", "executed_macs": "MACs", "peak_bytes": "memory"}


def growth_heading(runs: Sequence[Run], growth: Growth) -> str:
    """Such as `Self-attention: time, MACs and memory against length`."""
    names = [_COSTS[panel.quantity.name] for panel in growth.panels] or ["costs"]
    costs = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    against = "" if growth.is_bars else f" against {_AGAINST[growth.axis]}"
    return f"{_subject(runs)}: {costs}{against}{_at_length(runs)}"


def breakdown_heading(runs: Sequence[Run]) -> str:
    """Such as `Self-attention: what the MACs are spent on, against length`."""
    at = _at_length(runs)
    return f"{_subject(runs)}: what the MACs are spent on{at or ', against length'}"


def setting_of(runs: Sequence[Run]) -> str:
    """Shape and pattern of the runs, once where they are the same, and their processors."""
    settings = dict.fromkeys(describe_setting(run.table) for run in runs)
    machines = dict.fromkeys(
        f"{run.name}: {machine}" if run.name else machine
        for run in runs
        if (machine := _machine(run))
    )
    return "; ".join([" / ".join(settings), *machines])


def _subject(runs: Sequence[Run]) -> str:
    return " and ".join(dict.fromkeys(describe_subject(run.table) for run in runs))


def _at_length(runs: Sequence[Run]) -> str:
    """The length, if all results have the same; else nothing."""
    lengths = {row.workload.seq_len for run in runs for row in run.table.rows}
    return f" at {format_tokens(lengths.pop())}" if len(lengths) == 1 else ""


def _machine(run: Run) -> str:
    environment = run.table.environment or {}
    if any(row.workload.device == "cuda" for row in run.table.rows):
        return str(environment.get("gpu") or "")
    threads = environment.get("threads")
    counted = f"{threads} thread{'' if threads == 1 else 's'}" if threads else ""
    return ", ".join(str(part) for part in (environment.get("processor"), counted) if part)
