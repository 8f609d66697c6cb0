"""The answer of a result table first: who is fastest, from which length, and what that costs."""

from __future__ import annotations

from attnprof.core.result_table import ResultTable
from attnprof.report.overview.model import Overview
from attnprof.report.setting import describe_setting, describe_subject


def overview_of(table: ResultTable, width: int = 80) -> Overview:
    """The overview of a table.

    Args:
        table: with one row or more.
        width: characters that a line of its tables may have.
    """
    return Overview(describe_subject(table), describe_setting(table), (), ())
