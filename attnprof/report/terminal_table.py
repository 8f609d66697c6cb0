"""Tables of results in the terminal."""

from __future__ import annotations

from itertools import groupby

from rich.table import Table

from attnprof.analysis.series import labels
from attnprof.core.result_table import ResultTable
from attnprof.core.units import format_count
from attnprof.report.columns import Column, filled


def render_table(table: ResultTable, columns: tuple[Column, ...], *, is_wide: bool) -> Table:
    """A group of rows for each length; numbers are right-aligned and never truncated."""
    wanted = [column for column in columns if is_wide or not column.is_for_wide]
    shown = filled(wanted, table.rows)
    rendered = Table(box=None, padding=(0, 0, 0, 1), pad_edge=False, header_style="dim")
    rendered.add_column("kernel", no_wrap=True)
    for column in shown:
        rendered.add_column(column.heading, justify="right", no_wrap=True, vertical="top")
    label_of = labels(table)
    rows = sorted(table.rows, key=lambda row: row.workload.seq_len)
    for seq_len, group in groupby(rows, key=lambda row: row.workload.seq_len):
        rendered.add_row(f"{format_count(seq_len)} tokens", style="bold")
        for row in group:
            style = "" if row.status == "ok" else "dim"
            name = f"  {label_of(row)}"
            rendered.add_row(name, *(column.show(row) for column in shown), style=style)
    return rendered
