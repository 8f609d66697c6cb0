"""What the commands of `attnprof guard` share: how reports are written, and how commands end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import typer

from attnprof.core.errors import MeasurementError, UsageError, suggest

_STYLES = {
    "kept": "green",
    "unchanged": "green",
    "changed": "cyan",
    "new": "cyan",
    "removed": "yellow",
    "broken": "bold red",
    "undecided": "yellow",
    "misconfigured": "bold red",
    "not measured": "bold red",
}


def check_format(format: str) -> None:
    """Refuse a format that is unknown.

    Raises:
        UsageError: names a similar one.
    """
    from attnprof.guard.reports import FORMATS

    if format not in FORMATS:
        raise UsageError("format", format or "(empty)", f"unknown; {suggest(format, FORMATS)}")


def write_verdict(write: Callable[[], object], exit_code: int) -> None:
    """Write the report to stdout; a reader that closes the pipe does not change the verdict.

    Raises:
        typer.Exit: if it cannot be written.
    """
    from attnprof.cli.console import echo_err
    from attnprof.report.streams import drop_stdout

    try:
        write()
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        drop_stdout()
    except OSError as error:
        drop_stdout()
        echo_err(f"attnprof: the verdict could not be written: {error.strerror}")
        raise typer.Exit(exit_code or MeasurementError.exit_code) from error


def show_text(render: Callable[[int], str]) -> None:
    """Print a text report of a width, with status words in colour on a terminal."""
    from rich.console import Console
    from rich.text import Text

    from attnprof.guard.reports import text
    from attnprof.report.streams import columns

    is_terminal = sys.stdout.isatty()
    width = min(columns(), text.WIDTH) if is_terminal else text.WIDTH
    report = Text(render(width), end="")
    for word, style in _STYLES.items():
        report.highlight_regex(rf"(?m)^{word}(?= )", style)
    for label in ("where", "likely", "to accept", "to fix"):
        report.highlight_regex(rf"(?m)^    {label}(?= )", "dim")
    console = Console(width=10_000, highlight=False, force_terminal=is_terminal)
    console.print(report, soft_wrap=True)


def write_github(format: str, annotations: Callable[[], str], summary: Callable[[], str]) -> None:
    """On GitHub Actions, write annotations and the step summary, whatever the format."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    if format != "github":
        sys.stderr.write(annotations())
    _append_summary(summary())


def _append_summary(text: str) -> None:
    """Append to the step summary of GitHub Actions; a failure to write changes no verdict."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        from attnprof.cli.console import echo_err

        echo_err(f"attnprof: {path}: the summary could not be written: {error.strerror}")


@contextmanager
def ends_cleanly() -> Generator[None]:
    """A signal ends what runs inside, and nothing is written.

    Raises:
        typer.Exit: with the signal's exit code.
    """
    from attnprof.cli.console import echo_err
    from attnprof.cli.signals import graceful_shutdown

    with graceful_shutdown() as shutdown:
        try:
            yield
        except KeyboardInterrupt:
            echo_err(f"attnprof: {shutdown.word}; nothing was written")
            raise typer.Exit(shutdown.exit_code) from None
