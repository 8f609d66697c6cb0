"""The parts of an overview, all text: what the terminal, Markdown and the page show first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OverviewTable:
    """A table of an overview; a cell of the first column names a series, the others are numbers.

    Attributes:
        heading: what the table shows, such as `at 4,096 tokens`.
        columns: the headings of all columns but the first.
        rows: the name of a series, then a cell for each of `columns`.
        best: for each row, the indices in it of the cells that are the best of their column.
        note: what the table leaves out; empty if nothing.
    """

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: tuple[frozenset[int], ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """The answer of a result table, for one screen.

    Attributes:
        heading: what was compared, in one line.
        setting: where, and the pattern, in one line.
        verdict: at most five sentences, the most important first.
        tables: costs by length, then costs at the longest length.
        undecided: what is undecided and what would decide it, in one line; empty if nothing is.
        noise: what disturbed the times, in one line; empty if nothing did.
        notes: what explains cells that would surprise, and why cells are missing, one line each.
    """

    heading: str
    setting: str
    verdict: tuple[str, ...]
    tables: tuple[OverviewTable, ...]
    undecided: str = ""
    noise: str = ""
    notes: tuple[str, ...] = ()
