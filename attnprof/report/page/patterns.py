"""Pictures of who attends to whom, with the blocks that each kernel computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from markupsafe import Markup

from attnprof.analysis.series import Series
from attnprof.core.mask_pattern import MaskPattern
from attnprof.core.units import format_tokens
from attnprof.core.workload import Workload
from attnprof.report.page.content import Figure
from attnprof.report.pattern import render_pattern_svg
from attnprof.report.setting import describe_pattern

_LONGEST_DRAWN = 65_536

_LONGEST_MASK = 8192
"""Mask functions are evaluated at all pairs for a picture."""

_WINDOWS_DRAWN = 8
"""A band is drawn in a sequence of at most so many windows, if there is one: else it is a line."""

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
        caption = f"{describe_pattern([workload])} at {format_tokens(workload.seq_len)}"
        yield Figure(caption, Markup(render_pattern_svg(workload, list(kernels))))


def _drawn_workload(series: Series) -> Workload | None:
    """The workload at the best length to see its band; None for dense attention and user code."""
    if series.is_custom or series.kernel.pattern_support != "pattern":
        return None
    workloads = [row.workload for row in series.rows if row.workload.seq_len <= _LONGEST_DRAWN]
    layers = series.workload.layers
    if not workloads or len(layers) != 1:
        return None
    (layer,) = layers
    if isinstance(layer, MaskPattern):
        short = [workload for workload in workloads if workload.seq_len <= _LONGEST_MASK]
        return short[0] if short and layer.function.is_known else None
    widest = _WINDOWS_DRAWN * (layer.window or 0) * max(layer.dilation)
    visible = [workload for workload in workloads if workload.seq_len <= widest]
    return visible[-1] if visible else workloads[0]
