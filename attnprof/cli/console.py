"""Output for people: tables and findings on stdout, messages on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.text import Text

from attnprof.analysis import findings
from attnprof.analysis.explanation import explain_table
from attnprof.report import streams
from attnprof.report.columns import Column
from attnprof.report.explanation import render_explanations
from attnprof.report.overview import WIDTH as OVERVIEW_WIDTH
from attnprof.report.overview import overview_of
from attnprof.report.overview.study import study_overviews
from attnprof.report.plan import Plan, plan_sentences, plan_tables
from attnprof.report.setting import describe_setting, describe_subject
from attnprof.report.summary import describe_findings, describe_notes
from attnprof.report.terminal_overview import (
    HINTS,
    render_overview,
    render_overview_table,
    render_remarks,
    render_study,
    render_verdict,
    wrapped_lines,
)
from attnprof.report.terminal_side_by_side import render_side_by_side, without_repetition
from attnprof.report.terminal_table import render_table
from attnprof.report.text_table import UNBOUNDED

if TYPE_CHECKING:
    from attnprof.core.result_table import ResultTable
    from attnprof.report.doctor import Section
    from attnprof.report.run import Run
    from attnprof.report.side_by_side import SideBySide

_PROSE_WIDTH = 100


def show_overview(table: ResultTable, *, has_hints: bool = True) -> None:
    """Print the answer of a table on one screen; on a terminal, hints at more below it."""
    console, width = _overview_console()
    if not table.rows:
        console.print("no case was finished")
        return
    for part in render_overview(overview_of(table, width), width):
        print_uncropped(part)
    if has_hints:
        _show_hints(console)


def show_estimate(table: ResultTable, columns: Sequence[Column]) -> None:
    """Print the answer of an estimate, and its table with a row for each kernel and length."""
    console, width = _overview_console()
    overview = overview_of(table, width)
    for part in render_verdict(overview, width):
        print_uncropped(part)
    console.print()
    print_uncropped(render_table(table, tuple(columns), table_width()))
    for part in render_remarks(overview, width):
        print_uncropped(part)
    _show_hints(console)


def show_side_by_side(runs: SideBySide) -> None:
    """Print several runs side by side."""
    _, width = _overview_console()
    for part in render_side_by_side(runs, width):
        print_uncropped(part)


def show_study(runs: Sequence[Run], *, has_details: bool) -> None:
    """Print the settings of a study, one below the other; without details, hints at them."""
    console, width = _overview_console()
    for part in render_study(study_overviews(runs, width), width, has_details=has_details):
        print_uncropped(part)
    if not has_details:
        _show_hints(console)


def show_plan(plan: Plan) -> None:
    """Print the cases of a comparison, and what they would take."""
    _, width = _overview_console()
    for table in plan_tables(plan):
        print_uncropped(render_overview_table(without_repetition(table), width))
        print_uncropped(Text())
    for sentence in plan_sentences(plan):
        for line in wrapped_lines(sentence, width):
            print_uncropped(line)


def show_heading(text: str) -> None:
    """Print a line that separates what follows from what is above."""
    console, _ = _overview_console()
    console.print(Text(f"\n{text}\n", style="bold underline"), soft_wrap=True)


def show_explanations(table: ResultTable) -> None:
    """Print the formulas behind the executed MACs, with the numbers put in."""
    explanations = explain_table(table)
    if explanations:
        print_uncropped(Text())
        for part in render_explanations(explanations, table_width()):
            print_uncropped(part)


def _overview_console() -> tuple[Console, int]:
    is_terminal = sys.stdout.isatty()
    width = streams.columns() if is_terminal else OVERVIEW_WIDTH
    return Console(width=width, highlight=False, force_terminal=is_terminal), width


def _show_hints(console: Console) -> None:
    if console.is_terminal:
        console.print(Text(HINTS, style="dim"), soft_wrap=True)


def show_details(table: ResultTable, columns: Sequence[Column], machine: str = "") -> None:
    """Print the table with all columns, the findings, and notes on single rows."""
    is_terminal = sys.stdout.isatty()
    width = streams.columns() if is_terminal else UNBOUNDED
    rendered = render_table(table, tuple(columns), width)
    prose_width = min(width, _PROSE_WIDTH) if is_terminal else UNBOUNDED
    prose = Console(width=prose_width, highlight=False, force_terminal=is_terminal)
    prose.print(f"\n[bold]{describe_subject(table)}[/]: {describe_setting(table)}", markup=True)
    if machine:
        prose.print(machine, style="dim", markup=False)
    print_uncropped(rendered)
    for heading, lines in describe_findings(findings.find(table)):
        prose.print(f"\n[bold]{heading}[/]")
        for line in lines:
            _print_item(prose, line)
    notes = describe_notes(table)
    if notes:
        prose.print("\n[bold]Notes[/]")
        for note in notes:
            _print_item(prose, note)


def show_sections(sections: Sequence[Section]) -> None:
    """Print headings with tables or sentences below them; only sentences are wrapped."""
    is_terminal = sys.stdout.isatty()
    width = streams.columns() if is_terminal else UNBOUNDED
    prose = Console(
        width=min(width, _PROSE_WIDTH) if is_terminal else UNBOUNDED,
        highlight=False,
        force_terminal=is_terminal,
    )
    for index, section in enumerate(sections):
        if index:
            prose.print()
        prose.print(Text(section.heading, style="bold"))
        if section.table is not None:
            prose.print(section.table)
        for sentence in section.sentences:
            _print_item(prose, sentence)


def _print_item(console: Console, text: str) -> None:
    from rich.padding import Padding

    console.print(Padding(Text(text), (0, 0, 0, 2), expand=False))


def table_width() -> int:
    """The width that tables on stdout must fit: the terminal's, or none in a pipe."""
    return streams.columns() if sys.stdout.isatty() else UNBOUNDED


def print_uncropped(renderable: RenderableType) -> None:
    """Print a table as wide as its content: no cell is cropped, on a terminal or in a pipe."""
    console = Console(highlight=False, force_terminal=sys.stdout.isatty())
    needed = console.measure(renderable, options=console.options.update(width=UNBOUNDED)).maximum
    console.width = max(needed, 1)
    console.print(renderable)


def echo_err(message: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(f"{message}\n")
