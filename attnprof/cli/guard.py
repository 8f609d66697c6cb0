"""`attnprof guard`: init, check, update."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attnprof.cli import completion, measurement_options
from attnprof.cli.option_forms import option
from attnprof.cli.plain_options import PlainCommand, PlainGroup, with_default
from attnprof.core.errors import MeasurementError, UsageError, suggest

if TYPE_CHECKING:
    from attnprof.guard.check import Check
    from attnprof.guard.config import Configuration
    from attnprof.guard.contract import Contract
    from attnprof.guard.update import Update
    from attnprof.isolation.workers import Workers
    from attnprof.measure import Observer

guard = typer.Typer(
    cls=PlainGroup,
    add_completion=False,
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="Complexity contracts: limits on costs and their growth, for CI to enforce.\n\n"
    "Example: [bold]attnprof guard check[/]",
)

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help=with_default("Contracts to measure.", "all"),
        autocompletion=completion.contracts,
    ),
]
Config = Annotated[
    str | None,
    option(
        "--config",
        "FILE",
        "File with the contracts.",
        default="attnprof.toml and pyproject.toml here, or in the nearest folder above that has "
        "contracts",
    ),
]
Timeout = Annotated[
    str | None,
    option("--timeout", "<float>", "Time limit in seconds for each contract.", default="300"),
]
Format = Annotated[
    str,
    option(
        "--format",
        "NAME",
        "Output format: text, json, github, junit or markdown.",
        complete=completion.guard_formats,
    ),
]
NoTime = Annotated[bool, typer.Option("--no-time", help="Skip time limits.")]
Strict = Annotated[bool, typer.Option("--strict", help="Treat an undecided time as a failure.")]

_STYLES = {
    "kept": "green",
    "broken": "bold red",
    "undecided": "yellow",
    "misconfigured": "bold red",
    "not measured": "bold red",
}


@guard.command(cls=PlainCommand)
def init(
    names: Names = None,
    config: Config = None,
    timeout: Timeout = None,
    no_isolation: measurement_options.NoIsolation = False,
) -> None:
    """Measure all contracts and write the first attnprof.lock.json; commit it.

    Example: [bold]attnprof guard init[/]
    """
    from attnprof.guard import update as guard_update

    _write_lock(guard_update.init, names, config, timeout, no_isolation=no_isolation)


@guard.command(cls=PlainCommand)
def update(
    names: Names = None,
    config: Config = None,
    timeout: Timeout = None,
    no_isolation: measurement_options.NoIsolation = False,
) -> None:
    """Accept the current costs: write them to the lock and print what changed.

    Example: [bold]attnprof guard update[/]
    """
    from attnprof.guard import update as guard_update

    _write_lock(guard_update.update, names, config, timeout, no_isolation=no_isolation)


@guard.command(cls=PlainCommand)
def check(
    names: Names = None,
    config: Config = None,
    format: Format = "text",
    timeout: Timeout = None,
    no_time: NoTime = False,
    strict: Strict = False,
    no_isolation: measurement_options.NoIsolation = False,
) -> None:
    """Measure contracts and check them against the lock; changes no file.

    Example: [bold]attnprof guard check --format markdown[/]

    Exit code 1 if a contract is broken, 2 if one is misconfigured, 3 if one could not be measured.
    On GitHub Actions, also writes annotations and the step summary.
    """
    from attnprof.core.option_values import read_seconds
    from attnprof.guard import check as guard_check
    from attnprof.guard.reports import FORMATS, github, markdown

    if format not in FORMATS:
        raise UsageError("format", format or "(empty)", f"unknown; {suggest(format, FORMATS)}")
    configuration, contracts = _read(names, config)
    seconds = read_seconds("timeout", timeout, guard_check.DEFAULT_TIMEOUT_S)
    with _measuring(contracts, no_isolation=no_isolation) as (workers, observe):
        result = guard_check.check(
            configuration,
            contracts,
            workers,
            config=config or "",
            with_time=not no_time,
            is_strict=strict,
            timeout=seconds,
            observe=observe,
        )
    _write_verdict(result, format)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        if format != "github":
            sys.stderr.write(github.render(result))
        _append_summary(markdown.render(result))
    raise typer.Exit(result.exit_code)


def _write_verdict(result: Check, format: str) -> None:
    """Write the report to stdout; a reader that closes the pipe does not change the verdict."""
    from attnprof.cli.console import echo_err
    from attnprof.guard.reports import FORMATS
    from attnprof.report.streams import drop_stdout

    try:
        if format == "text":
            _show(result)
        else:
            sys.stdout.write(FORMATS[format](result))
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        drop_stdout()
    except OSError as error:
        drop_stdout()
        echo_err(f"attnprof: the verdict could not be written: {error.strerror}")
        raise typer.Exit(result.exit_code or MeasurementError.exit_code) from error


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


def _write_lock(
    change: Callable[..., Update],
    names: list[str] | None,
    config: str | None,
    timeout: str | None,
    *,
    no_isolation: bool,
) -> None:
    """Measure contracts, write the lock by `change`, and print what changed."""
    from attnprof.cli.console import echo_err
    from attnprof.core.option_values import read_seconds
    from attnprof.guard import check as guard_check
    from attnprof.guard.formatting import display_path

    configuration, contracts = _read(names, config)
    seconds = read_seconds("timeout", timeout, guard_check.DEFAULT_TIMEOUT_S)
    with _measuring(contracts, no_isolation=no_isolation) as (workers, observe):
        result = change(configuration, contracts, workers, timeout=seconds, observe=observe)
    for name, lines in sorted(result.differences.items()):
        if len(lines) == 1:
            _echo_wrapped(f"{name}: {lines[0]}")
        elif lines:
            _echo_wrapped(f"{name}:", *(f"    {line}" for line in lines))
    unchanged = sum(not lines for lines in result.differences.values())
    if unchanged:
        typer.echo(f"{unchanged} unchanged")
    for failure in result.failures:
        echo_err(f"{failure.file}:{failure.line}: {failure.name}: {failure.problem}")
    if result.differences:
        echo_err(f"written: {display_path(configuration.lock_path)}")
    raise typer.Exit(result.exit_code)


def _echo_wrapped(*lines: str) -> None:
    """Print lines, wrapped between words where they are wider than the terminal."""
    from attnprof.cli.console import table_width
    from attnprof.report.text_table import wrapped

    for line in lines:
        typer.echo("\n".join(wrapped(line, table_width(), "    ")))


def _read(names: list[str] | None, config: str | None) -> tuple[Configuration, list[Contract]]:
    from attnprof.guard.config import read_configuration

    configuration = read_configuration(None if config is None else Path(config))
    return configuration, configuration.chosen(names or [])


@contextmanager
def _measuring(
    contracts: list[Contract], *, no_isolation: bool
) -> Generator[tuple[Workers, Observer]]:
    """Workers and a progress observer; a signal ends them cleanly, and nothing is written."""
    from attnprof.cli.console import echo_err
    from attnprof.cli.progress import progress
    from attnprof.cli.signals import graceful_shutdown
    from attnprof.guard.check import workers_for

    with graceful_shutdown() as shutdown:
        try:
            with (
                progress() as observe,
                workers_for(contracts, is_isolated=not no_isolation) as workers,
            ):
                yield workers, observe
        except KeyboardInterrupt:
            echo_err(f"attnprof: {shutdown.word}; nothing was written")
            raise typer.Exit(shutdown.exit_code) from None


def _show(result: Check) -> None:
    """Print the text report, with status words in colour on a terminal."""
    from rich.console import Console
    from rich.text import Text

    from attnprof.guard.reports import text
    from attnprof.report.streams import columns

    is_terminal = sys.stdout.isatty()
    width = min(columns(), text.WIDTH) if is_terminal else text.WIDTH
    report = Text(text.render(result, width), end="")
    for word, style in _STYLES.items():
        report.highlight_regex(rf"(?m)^{word}(?= )", style)
    for label in ("where", "likely", "to accept", "to fix"):
        report.highlight_regex(rf"(?m)^    {label}(?= )", "dim")
    console = Console(width=10_000, highlight=False, force_terminal=is_terminal)
    console.print(report, soft_wrap=True)
