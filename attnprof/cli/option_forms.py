"""The forms of options: with a value, without one, and with the path of a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from attnprof.cli.plain_options import with_default

WORKLOAD = "Workload"
MEASUREMENT = "Measurement"
OUTPUT = "Output"
"""Panels of the help."""


def option(
    name: str,
    metavar: str,
    help: str,
    *,
    panel: str | None = None,
    default: str = "",
    complete: Callable[..., Any] | None = None,
) -> Any:
    """An option with a value, whose help ends with its default.

    Args:
        name: on the command line.
        metavar: what stands for the value.
        help: one or two sentences.
        panel: of the help; None for the general one.
        default: what the value is without the option, where its Python default is None.
        complete: the values that a shell completes; None for paths and numbers.
    """
    return typer.Option(
        name,
        metavar=metavar,
        help=with_default(help, default),
        rich_help_panel=panel,
        autocompletion=complete,
    )


def flag(name: str, panel: str, help: str) -> Any:
    """An option without a value."""
    return typer.Option(name, help=help, rich_help_panel=panel)


def path(name: str, help: str) -> Any:
    """An option that names a file for the results."""
    return option(name, "PATH", help, panel=OUTPUT)
