"""Results as plain text, for `print` in Python."""

from __future__ import annotations

import io

from rich.console import Console

from attnprof.core.result_table import ResultTable
from attnprof.report.comparisons import compared_runs
from attnprof.report.overview import WIDTH, overview_of
from attnprof.report.overview.study import study_overviews
from attnprof.report.run import Run
from attnprof.report.terminal_overview import render_overview, render_study
from attnprof.report.text_table import UNBOUNDED

NO_ROWS = "no case was finished"


def render_text(table: ResultTable) -> str:
    """The overview of a table in lines of 80 characters; longer ones are never cut."""
    if not table.rows:
        return NO_ROWS
    text = io.StringIO()
    runs = compared_runs([Run("", table)])
    parts = (
        render_overview(overview_of(table, WIDTH), WIDTH)
        if len(runs) == 1
        else render_study(study_overviews(runs, WIDTH), WIDTH)
    )
    for part in parts:
        console = Console(file=text, width=UNBOUNDED, highlight=False, color_system=None)
        console.print(part)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
