"""Output for people: tables and findings on stdout, progress and messages on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.text import Text

from attnprof.analysis import findings
from attnprof.report import streams
from attnprof.report.columns import Column
from attnprof.report.setting import describe_setting, describe_subject
from attnprof.report.summary import describe_findings, describe_notes
from attnprof.report.terminal_table import render_table
from attnprof.report.text_table import UNBOUNDED

if TYPE_CHECKING:
    from attnprof.core.result_table import ResultTable
    from attnprof.measure import Observer
    from attnprof.report.doctor import Section

_PROSE_WIDTH = 100
_REFRESHES_A_SECOND = 2  # drawing competes with the measurement for a core


def show_results(table: ResultTable, columns: Sequence[Column], machine: str = "") -> None:
    """Print the table, the findings, and notes on single rows."""
    is_terminal = sys.stdout.isatty()
    width = streams.columns() if is_terminal else UNBOUNDED
    rendered = render_table(table, tuple(columns), width)
    prose_width = min(width, _PROSE_WIDTH) if is_terminal else UNBOUNDED
    prose = Console(width=prose_width, highlight=False, force_terminal=is_terminal)
    prose.print(f"[bold]{describe_subject(table)}[/]: {describe_setting(table)}", markup=True)
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


@contextmanager
def progress() -> Generator[Observer]:
    """An observer that draws a bar on a terminal, and otherwise writes a line now and then."""
    if not sys.stderr.isatty():
        from attnprof.cli.heartbeat import heartbeat

        with heartbeat() as observe:
            yield observe
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    # A separate descriptor: stderr is redirected while peak memory is measured.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as stream:
        bar = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=Console(file=stream),
            transient=True,
            refresh_per_second=_REFRESHES_A_SECOND,
        )
        with bar:
            task = bar.add_task("starting", total=1.0)
            yield lambda activity, done: bar.update(task, completed=done, description=activity)
