"""Pictures of who attends to whom, with the blocks that each kernel computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from markupsafe import Markup

from attnprof.analysis.series import Series
from attnprof.core.units import format_count
from attnprof.core.workload import Workload
from attnprof.report.page.content import Figure
from attnprof.report.pattern import render_pattern_svg
from attnprof.report.setting import describe_pattern

_LONGEST_DRAWN = 16_384
"""Longer sequences are drawn at their longest length below this: a band is a line there."""

_MOST_PATTERNS = 4


def pattern_figures(series: Iterable[Series]) -> Iterator[Figure]:
    """A picture of each sparse pattern, with the built-in kernels that compute it.

    Args:
        series: of all runs.
    """
    kernels_of: dict[Workload, dict[str, None]] = {}
    for member in series:
        workload = _drawn_workload(member)
        if workload is not None:
            kernels_of.setdefault(workload, {})[member.rows[0].kernel] = None
    for workload, kernels in list(kernels_of.items())[:_MOST_PATTERNS]:
        caption = f"{describe_pattern([workload])} at {format_count(workload.seq_len)} tokens"
        yield Figure(caption, Markup(render_pattern_svg(workload, list(kernels))))


def _drawn_workload(series: Series) -> Workload | None:
    """The longest workload that is drawn; None for dense attention and for user code."""
    if series.is_custom or series.kernel.pattern_support != "pattern":
        return None
    workloads = [row.workload for row in series.rows if row.workload.seq_len <= _LONGEST_DRAWN]
    return workloads[-1] if workloads and len(workloads[-1].layers) == 1 else None
