"""A report in Markdown: the setting, the table, the findings."""

from __future__ import annotations

from collections.abc import Sequence

from attnprof.analysis import findings
from attnprof.analysis.series import labels
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.units import format_count
from attnprof.report.columns import Column, filled
from attnprof.report.summary import (
    describe_findings,
    describe_notes,
    describe_setting,
    describe_subject,
)


def render_markdown(table: ResultTable, columns: Sequence[Column]) -> str:
    """GitHub-flavoured Markdown, all columns."""
    label_of = labels(table)
    columns = filled(columns, table.rows)
    headings = ["tokens", "kernel", *(column.heading.replace("\n", " ") for column in columns)]
    lines = [
        f"{describe_subject(table)}: {describe_setting(table)}.",
        "",
        _line(headings),
        _line(["---:", "---", *["---:"] * len(columns)]),
        *(_line(_cells(row, label_of(row), columns)) for row in table.rows),
    ]
    for heading, sentences in describe_findings(findings.find(table)):
        lines += ["", f"**{heading}**", "", *(f"- {sentence}" for sentence in sentences)]
    notes = describe_notes(table)
    if notes:
        lines += ["", "**Notes**", "", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def _cells(row: Row, label: str, columns: Sequence[Column]) -> list[str]:
    return [format_count(row.workload.seq_len), label, *(column.show(row) for column in columns)]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
