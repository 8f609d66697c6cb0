"""Several runs side by side on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from string import ascii_uppercase

from rich.table import Table
from rich.text import Text

from attnprof.report.overview.model import OverviewTable
from attnprof.report.overview.tables import GAP
from attnprof.report.side_by_side import SideBySide
from attnprof.report.terminal_overview import render_overview_table, wrapped_lines


def render_side_by_side(runs: SideBySide, width: int) -> Iterator[Text | Table]:
    """What was compared, the runs, their tables, and what the marks mean.

    Args:
        runs: to show.
        width: characters of a line. Where a table with the names of the runs is wider, they are
            called by letters.
    """
    for line in runs.settings:
        yield from wrapped_lines(line, width, style="bold")
    letters = _letters(len(runs.runs))
    is_lettered = any(_width(table) > width for table in runs.tables)
    for letter, (name, where) in zip(letters, runs.runs, strict=True):
        # A run that is named by its machine is not named twice.
        text = where if where.startswith(name) else f"{name}: {where}"
        yield from wrapped_lines(f"{letter}  {text}" if is_lettered else text, width, style="dim")
    for table in runs.tables:
        yield Text()
        shown = replace(table, columns=(table.columns[0], *letters)) if is_lettered else table
        yield render_overview_table(without_repetition(shown), width)
    yield Text()
    first = runs.runs[0][0]
    legend = runs.legend.replace(first, letters[0]) if is_lettered else runs.legend
    yield from wrapped_lines(legend, width, style="dim")


def _letters(count: int) -> list[str]:
    if count <= len(ascii_uppercase):
        return list(ascii_uppercase[:count])
    return [str(number) for number in range(1, count + 1)]


def _width(table: OverviewTable) -> int:
    lines = [(table.heading, *table.columns), *table.rows]
    widths = (max(map(len, cells)) for cells in zip(*lines, strict=True))
    return sum(width + GAP for width in widths) - GAP


def without_repetition(table: OverviewTable) -> OverviewTable:
    """The table with the name of a series only in its first row."""
    before = ("", *(row[0] for row in table.rows))
    rows = (
        ("" if row[0] == name else row[0], *row[1:])
        for name, row in zip(before, table.rows, strict=False)
    )
    return replace(table, rows=tuple(rows))
