"""A report in Markdown: the setting, the table, the findings, the notes."""

from __future__ import annotations

from collections.abc import Sequence

from attnprof.analysis import findings
from attnprof.analysis.series import labels
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.units import format_count
from attnprof.report.columns import COMPARE_COLUMNS, ESTIMATE_COLUMNS, Column, filled
from attnprof.report.markdown_row import format_row
from attnprof.report.run import Run
from attnprof.report.setting import describe_setting, describe_subject
from attnprof.report.summary import describe_findings, describe_notes


def render_runs_markdown(runs: Sequence[Run]) -> str:
    """The report of each run; of several runs, each below its name."""
    reports = [(run.name, _render_of_kind(run.table)) for run in runs]
    if len(runs) == 1:
        return reports[0][1]
    return "\n".join(f"## {name}\n\n{report}" for name, report in reports)


def _render_of_kind(table: ResultTable) -> str:
    is_measured = table.environment is not None
    return render_markdown(table, COMPARE_COLUMNS if is_measured else ESTIMATE_COLUMNS)


def render_markdown(table: ResultTable, columns: Sequence[Column]) -> str:
    """GitHub-flavoured Markdown with all columns that have a value."""
    label_of = labels(table)
    columns = filled(columns, table.rows)
    headings = ["tokens", "kernel", *(column.heading.replace("\n", " ") for column in columns)]
    lines = [
        f"{describe_subject(table)}: {describe_setting(table)}.",
        "",
        format_row(headings),
        format_row(["---:", "---", *["---:"] * len(columns)]),
        *(format_row(_cells(row, label_of(row), columns)) for row in table.rows),
    ]
    for heading, sentences in describe_findings(findings.find(table)):
        lines += ["", f"**{heading}**", "", *(f"- {sentence}" for sentence in sentences)]
    notes = describe_notes(table)
    if notes:
        lines += ["", "**Notes**", "", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def _cells(row: Row, label: str, columns: Sequence[Column]) -> list[str]:
    return [format_count(row.workload.seq_len), label, *(column.show(row) for column in columns)]
