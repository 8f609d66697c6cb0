"""The answer of a result table first: who is fastest, from which length, and what that costs."""

from __future__ import annotations

from attnprof.core.result_table import ResultTable
from attnprof.report.overview.model import Overview
from attnprof.report.overview.noise import is_quiet, noise_line
from attnprof.report.overview.notes import notes_of
from attnprof.report.overview.results import read_results
from attnprof.report.overview.tables import table_at_longest, table_by_length
from attnprof.report.overview.undecided import undecided_line
from attnprof.report.overview.verdict import verdict_of
from attnprof.report.setting import describe_call, describe_place

WIDTH = 80
"""Characters of a line, unless there is room for more."""


def overview_of(table: ResultTable, width: int = WIDTH) -> Overview:
    """The overview of a table.

    Args:
        table: with one row or more.
        width: characters that a line of its tables may have; more show more lengths.
    """
    results = read_results(table)
    tables = (table_by_length(results, width), table_at_longest(results))
    return Overview(
        describe_call(table),
        describe_place(table, "machine quiet" if is_quiet(results) else ""),
        verdict_of(results),
        tuple(part for part in tables if part.columns),
        undecided_line(results),
        noise_line(results),
        notes_of(results, width),
    )
