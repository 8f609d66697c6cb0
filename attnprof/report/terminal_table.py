"""Tables of results in the terminal."""

from __future__ import annotations

from itertools import groupby

from rich.text import Text

from attnprof.analysis.series import labels
from attnprof.core.result_table import ResultTable
from attnprof.core.units import format_tokens
from attnprof.report.columns import WIDE, Column, filled, with_marks_aligned
from attnprof.report.text_table import TextRow, fit_table


def render_table(table: ResultTable, columns: tuple[Column, ...], width: int) -> Text:
    """A group of rows for each length, with numbers that are right-aligned and never cut.

    Args:
        table: the results.
        columns: those that are only for wide tables are left out of narrow ones.
        width: of the table, in characters.
    """
    wanted = [column for column in columns if width >= WIDE or not column.is_for_wide]
    shown = filled(wanted, table.rows)
    label_of = labels(table)
    rows: list[TextRow] = []
    by_length = sorted(table.rows, key=lambda row: row.workload.seq_len)
    columns_cells = [with_marks_aligned([show.show(row) for row in by_length]) for show in shown]
    lines = zip(by_length, *columns_cells, strict=True)
    for seq_len, group in groupby(lines, key=lambda line: line[0].workload.seq_len):
        rows.append(TextRow((format_tokens(seq_len),), "bold"))
        for row, *cells in group:
            style = "" if row.status == "ok" else "dim"
            rows.append(TextRow((f"  {label_of(row)}", *cells), style))
    return fit_table(("kernel", *(column.heading for column in shown)), rows, width)
