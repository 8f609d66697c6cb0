"""Why rows have no value, or an uncertain one."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from attnprof.analysis.series import labels
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.units import format_count
from attnprof.report.page.content import Cell, Heading, Table

_HEADINGS = (
    Heading("kernel", "left"),
    Heading("tokens", "left"),
    Heading("status", "left"),
    Heading("reason", "prose"),
)


def note_table(table: ResultTable, markers: Mapping[str, Markup]) -> Table | None:
    """Rows with a note, lengths with the same note together; None without any.

    Args:
        table: of one run.
        markers: by kernel.
    """
    label_of = labels(table)
    rows_of: dict[tuple[str, str, str], list[Row]] = {}
    for row in table.rows:
        note = "; ".join(dict.fromkeys([*row.details, row.prediction])).rstrip("; ")
        if note or row.status != "ok":
            rows_of.setdefault((label_of(row), row.status, note), []).append(row)
    if not rows_of:
        return None
    rows = tuple(
        (
            Cell(label, marker=markers[rows[0].kernel]),
            Cell(", ".join(format_count(row.workload.seq_len) for row in rows)),
            Cell(status),
            Cell(note),
        )
        for (label, status, note), rows in rows_of.items()
    )
    return Table("Notes on rows", _HEADINGS, rows)
