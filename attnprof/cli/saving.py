"""Results that cannot be saved are still shown: a full disk loses none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import typer

from attnprof.core.errors import NotSavedError

_T = TypeVar("_T")


def run_and_save(run: Callable[[], _T]) -> tuple[_T, int]:
    """Run a request; returns its result and the exit code of saving it, and reports failures."""
    try:
        return run(), 0
    except NotSavedError as error:
        typer.echo(f"attnprof: {error}", err=True)
        return cast("_T", error.result), error.exit_code
