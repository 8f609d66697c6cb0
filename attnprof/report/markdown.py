"""A report in Markdown: the answer first, everything else folded below it."""

from __future__ import annotations

from collections.abc import Sequence

from attnprof.analysis import findings
from attnprof.analysis.series import labels
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.units import format_count
from attnprof.report.columns import Column, filled
from attnprof.report.markdown_row import format_row
from attnprof.report.overview import overview_of
from attnprof.report.overview.model import OverviewTable
from attnprof.report.setting import describe_setting, describe_subject
from attnprof.report.summary import describe_findings, describe_notes

_WIDTH = 120
"""Characters of a table; pages are wider than terminals."""


def render_markdown(table: ResultTable, columns: Sequence[Column]) -> str:
    """GitHub-flavoured Markdown: the answer first, all columns and findings folded below it."""
    if not table.rows:
        return "no case was finished\n"
    return "\n".join([*_overview_lines(table), "", *_details_lines(table, columns)]) + "\n"


def _overview_lines(table: ResultTable) -> list[str]:
    overview = overview_of(table, _WIDTH)
    lines = [f"**{overview.heading}**", "", overview.setting, ""]
    lines += [f"- {sentence}" for sentence in overview.verdict]
    for part in overview.tables:
        lines += ["", *overview_table_lines(part)]
        lines += ["", part.note] if part.note else []
    remarks = [line for line in (overview.undecided, overview.noise, *overview.notes) if line]
    for remark in remarks:
        lines += ["", escaped(remark)]
    return lines


def overview_table_lines(table: OverviewTable) -> list[str]:
    """The lines of a table of an overview; the best of a column is bold."""
    best = table.best or (frozenset[int](),) * len(table.rows)
    return [
        format_row([table.heading, *table.columns]),
        format_row(["---", *["---:"] * len(table.columns)]),
        *(
            format_row([_overview_cell(cell, index in marked) for index, cell in enumerate(row)])
            for row, marked in zip(table.rows, best, strict=True)
        ),
    ]


def _overview_cell(cell: str, is_best: bool) -> str:
    text = escaped(" ".join(cell.split()))
    return f"**{text}**" if is_best else text


def escaped(text: str) -> str:
    """A text whose marks are no Markdown: `~` strikes out, `*` is a list item."""
    return text.replace("*", "\\*").replace("~", "\\~")


def _details_lines(table: ResultTable, columns: Sequence[Column]) -> list[str]:
    """What `--details` prints, folded."""
    label_of = labels(table)
    columns = filled(columns, table.rows)
    headings = ["tokens", "kernel", *(column.heading.replace("\n", " ") for column in columns)]
    lines = [
        "<details><summary>All columns, growth, crossover lengths, notes</summary>",
        "",
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
    return [*lines, "", "</details>"]


def _cells(row: Row, label: str, columns: Sequence[Column]) -> list[str]:
    return [format_count(row.workload.seq_len), label, *(column.show(row) for column in columns)]
