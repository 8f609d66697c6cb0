"""Pictures of who attends to whom, and of the blocks that kernels compute around it."""

from __future__ import annotations

from collections.abc import Sequence

from attnprof.core.workload import Workload


def render_pattern_svg(workload: Workload, kernels: Sequence[str]) -> str:
    """One `<svg>` element for a page: a panel for each kernel, or for the pattern without any.

    It has the colour of the text around it and no size of its own.

    Args:
        workload: the call whose pattern is drawn.
        kernels: names of built-in kernels.

    Raises:
        UsageError: for a kernel that is not built in: which pairs it computes is not known.
    """
    from attnprof.report.pattern.layout import draw
    from attnprof.report.pattern.panels import panels_of
    from attnprof.report.pattern.svg import to_svg

    return to_svg(draw(panels_of([workload], kernels)), on_paper=False)
