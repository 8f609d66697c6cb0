"""Results as commands print them: one run, or several side by side."""

from __future__ import annotations

from collections.abc import Sequence

from attnprof.cli.console import (
    print_uncropped,
    show_details,
    show_estimate,
    show_explanations,
    show_heading,
    show_overview,
    show_side_by_side,
    show_study,
)
from attnprof.core.result_table import ResultTable
from attnprof.report.columns import COMPARE_COLUMNS, ESTIMATE_COLUMNS
from attnprof.report.comparisons import compared_runs
from attnprof.report.run import Run
from attnprof.report.run_facts import describe_machine
from attnprof.report.side_by_side import side_by_side
from attnprof.report.text import NO_ROWS


def show_table(table: ResultTable, *, has_details: bool, has_formulas: bool) -> None:
    """Print the results of one run, in the same words whether it has just ended or was saved.

    A study of several settings has a part for each.
    """
    runs = compared_runs([Run("", table)])
    if len(runs) > 1:
        show_study(runs, has_details=has_details)
        if has_details:
            _show_each(runs, has_formulas=has_formulas)
        return
    _show_costs(table, has_details=has_details)
    if has_formulas:
        show_explanations(table)


def _show_costs(table: ResultTable, *, has_details: bool) -> None:
    if table.environment is None:
        if has_details:
            show_overview(table, has_hints=False)
            show_details(table, ESTIMATE_COLUMNS)
        else:
            show_estimate(table, ESTIMATE_COLUMNS)
        return
    show_overview(table, has_hints=not has_details)
    if has_details and table.rows:
        is_on_gpu = table.rows[0].workload.device == "cuda"
        machine = describe_machine(table.environment, is_on_gpu=is_on_gpu)
        show_details(table, COMPARE_COLUMNS, machine)


def show_runs(runs: Sequence[Run], *, has_details: bool, has_formulas: bool) -> None:
    """Print the results of one or several runs; with details, each of several on its own too."""
    if len(runs) == 1 and not runs[0].table.rows:
        print_uncropped(_without_cases(runs[0].table))
    elif len(runs) == 1:
        show_table(runs[0].table, has_details=has_details, has_formulas=has_formulas)
    else:
        compared = compared_runs(runs)
        show_side_by_side(side_by_side(compared))
        if has_details:
            _show_each(compared, has_formulas=has_formulas)


def _without_cases(table: ResultTable) -> str:
    """What is said of a part of a study that has no cases."""
    if table.study is None or not (name := table.study.name):
        return NO_ROWS
    has = "has" if len(table.study.parts) == 1 else "have"
    return f"{name} of this study {has} no cases: they are in other parts"


def _show_each(runs: Sequence[Run], *, has_formulas: bool) -> None:
    for run in runs:
        show_heading(run.name)
        show_table(run.table, has_details=True, has_formulas=has_formulas)
