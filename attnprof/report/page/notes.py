"""Why rows have no value, or an uncertain one."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from attnprof.analysis.series import labels
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.units import format_count
from attnprof.report.page.content import Cell, Heading, Table

_Note = tuple[str, str]

_HEADINGS = (
    Heading("kernel", "left"),
    Heading("tokens", "left"),
    Heading("status", "left"),
    Heading("reason", "prose"),
)


def note_table(table: ResultTable, markers: Mapping[str, Markup]) -> Table | None:
    """Rows with a note; kernels and lengths that have the same one together; None without any.

    Args:
        table: of one run.
        markers: by kernel.
    """
    label_of = labels(table)
    lengths_of: dict[tuple[str, _Note], list[str]] = {}
    kernel_of: dict[str, str] = {}
    for row in table.rows:
        label, note = label_of(row), _note_of(row)
        kernel_of[label] = row.kernel
        if any(note):
            lengths_of.setdefault((label, note), []).append(format_count(row.workload.seq_len))
    labels_of: dict[tuple[_Note, str], list[str]] = {}
    for (label, note), lengths in lengths_of.items():
        labels_of.setdefault((note, ", ".join(lengths)), []).append(label)
    rows = tuple(
        (
            _subject(names, kernel_of, markers),
            Cell(lengths),
            Cell(status or "ok"),
            Cell(reason),
        )
        for ((status, reason), lengths), names in labels_of.items()
    )
    return Table("Notes on rows", _HEADINGS, rows) if rows else None


def _note_of(row: Row) -> _Note:
    """The status unless it is `ok`, and the reason."""
    reason = "; ".join(dict.fromkeys(part for part in (*row.details, row.prediction) if part))
    return ("" if row.status == "ok" else row.status), reason


def _subject(names: list[str], kernel_of: Mapping[str, str], markers: Mapping[str, Markup]) -> Cell:
    if len(names) == 1:
        return Cell(names[0], marker=markers[kernel_of[names[0]]])
    return Cell("all" if len(names) == len(kernel_of) else ", ".join(names))
