"""The headings of charts: what they show, and the setting that it holds for."""

from __future__ import annotations

from collections.abc import Sequence

from attnprof.core.units import format_tokens
from attnprof.report.charts.curves import Growth
from attnprof.report.run import Run
from attnprof.report.setting import describe_call, describe_place, describe_subject

_AGAINST = {"seq_len": "length", "window": "window", "dilation": "dilation"}
_COSTS = {
    "time_ns": "time",
    "executed_macs": "MACs",
    "peak_bytes": "memory",
    "cache_bytes": "cache",
}


def growth_heading(runs: Sequence[Run], growth: Growth) -> str:
    """Such as `Time, MACs and memory against length`."""
    names = [_COSTS[panel.quantity.name] for panel in growth.panels] or ["costs"]
    costs = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    axis = _AGAINST[growth.axis]
    if growth.is_decoding and growth.axis == "seq_len":
        axis = "context length"
    against = "" if growth.is_bars else f" against {axis}"
    return f"{costs[0].upper()}{costs[1:]}{against}{_at_length(runs)}"


def breakdown_heading(runs: Sequence[Run]) -> str:
    """Such as `What the MACs are spent on, against length`."""
    return f"What the MACs are spent on{_at_length(runs) or ', against length'}"


def roofline_heading(runs: Sequence[Run]) -> str:
    """Such as `Roofline at 4,096 tokens`."""
    return f"Roofline{_at_length(runs)}"


def setting_of(runs: Sequence[Run]) -> str:
    """What was costed, once where it is the same in all runs, and where and with which pattern."""
    filled = [run for run in runs if run.table.rows]
    if len(filled) > 1 and filled[0].is_setting:
        return _setting_of_study(filled)
    calls = dict.fromkeys(describe_call(run.table) for run in filled)
    places = dict.fromkeys(
        f"{run.name}: {describe_place(run.table)}" if run.name else describe_place(run.table)
        for run in filled
    )
    return "; ".join([" / ".join(calls), *places]) if filled else "no cases"


def _setting_of_study(runs: Sequence[Run]) -> str:
    """What all settings share; each has its own name."""
    places = dict.fromkeys(describe_place(run.table) for run in runs)
    heading = study_heading(runs)
    return f"{heading}; {places.popitem()[0]}" if len(places) == 1 else heading


def study_heading(runs: Sequence[Run]) -> str:
    """Such as `Self-attention in 4 settings`."""
    subjects = dict.fromkeys(describe_subject(run.table) for run in runs)
    return f"{' and '.join(subjects)} in {len(runs)} settings"


def _at_length(runs: Sequence[Run]) -> str:
    """The length, if all results have the same; else nothing."""
    lengths = {row.workload.seq_len for run in runs for row in run.table.rows}
    return f" at {format_tokens(lengths.pop())}" if len(lengths) == 1 else ""
