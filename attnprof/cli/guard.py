"""`attnprof guard`: init, check, update, diff."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attnprof.cli import completion, measurement_options
from attnprof.cli.guard_diff import diff
from attnprof.cli.guard_options import Config, Format, Timeout
from attnprof.cli.guard_output import (
    check_format,
    ends_cleanly,
    show_text,
    write_github,
    write_verdict,
)
from attnprof.cli.plain_options import PlainCommand, PlainGroup, with_default
from attnprof.cli.variadic import VariadicCommand

if TYPE_CHECKING:
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
NoTime = Annotated[bool, typer.Option("--no-time", help="Skip time limits.")]
Strict = Annotated[bool, typer.Option("--strict", help="Treat an undecided time as a failure.")]


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
    from attnprof.guard.reports import FORMATS, github, markdown, text

    check_format(format)
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
    if format == "text":
        write_verdict(lambda: show_text(lambda width: text.render(result, width)), result.exit_code)
    else:
        write_verdict(lambda: sys.stdout.write(FORMATS[format](result)), result.exit_code)
    write_github(format, lambda: github.render(result), lambda: markdown.render(result))
    raise typer.Exit(result.exit_code)


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
    from attnprof.cli.progress import progress
    from attnprof.guard.check import workers_for

    with (
        ends_cleanly(),
        progress() as observe,
        workers_for(contracts, is_isolated=not no_isolation) as workers,
    ):
        yield workers, observe


guard.command(cls=VariadicCommand)(diff)
