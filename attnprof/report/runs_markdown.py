"""Markdown of one or several runs."""

from __future__ import annotations

from collections.abc import Sequence

from attnprof.core.result_table import ResultTable
from attnprof.report.columns import COMPARE_COLUMNS, ESTIMATE_COLUMNS
from attnprof.report.markdown import escaped, overview_table_lines, render_markdown
from attnprof.report.run import Run
from attnprof.report.side_by_side import side_by_side


def render_runs_markdown(runs: Sequence[Run]) -> str:
    """The report of one run; several runs side by side, then the report of each below its name.

    Settings of one study are not shown side by side.
    """
    if len(runs) == 1:
        return _report(runs[0].table)
    lines = [] if runs[0].is_setting else _side_by_side(runs)
    for run in runs:
        lines += ["", f"## {escaped(run.name)}", "", _report(run.table).rstrip("\n")]
    return "\n".join(lines).lstrip("\n") + "\n"


def _side_by_side(runs: Sequence[Run]) -> list[str]:
    compared = side_by_side(runs)
    lines = [line for setting in compared.settings for line in (f"**{escaped(setting)}**", "")]
    lines += [f"- **{escaped(name)}**: {escaped(where)}" for name, where in compared.runs]
    for table in compared.tables:
        lines += ["", *overview_table_lines(table)]
    return [*lines, "", escaped(compared.legend)]


def _report(table: ResultTable) -> str:
    is_measured = table.environment is not None
    return render_markdown(table, COMPARE_COLUMNS if is_measured else ESTIMATE_COLUMNS)
