"""A table with the name that tells it from others in one report."""

from __future__ import annotations

from dataclasses import dataclass

from attnprof.core.result_table import ResultTable


@dataclass(frozen=True, slots=True)
class Run:
    """The results of one run.

    Attributes:
        name: such as its machine or date; empty where a report has one run only.
        table: the results.
        is_setting: whether it is one of several settings of one study, or the machines of it.
    """

    name: str
    table: ResultTable
    is_setting: bool = False
