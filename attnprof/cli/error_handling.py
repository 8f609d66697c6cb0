"""Prints errors as one line on stderr and exits with the code of their kind."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, cast

import typer

from attnprof.cli.commands import SUMMARIES
from attnprof.cli.lazy_commands import LazyCommand
from attnprof.cli.plain_options import PlainGroup, parameter_of
from attnprof.cli.settings import SettingError
from attnprof.cli.signals import graceful_shutdown
from attnprof.core.errors import AttnprofError, Interrupted, MeasurementError, UsageError
from attnprof.report import streams

INTERRUPTED = 130

_POSITIONAL = ("results", "base", "head")
"""Arguments without an option; messages begin with their value."""

_LONGEST_SHOWN = 200
_SHOWN_PREFIX = 40


class ErrorHandlingGroup(PlainGroup):
    """All commands; an error ends them with one line that names the option, without traceback."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update({name: LazyCommand(name, line) for name, line in SUMMARIES.items()})

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line and turn errors into exit codes.

        0: done; 1: a contract is broken or a count unexplained; 2: usage or configuration; 3: a
        measurement failed; 130: interrupted.
        """
        _prepare_streams()
        code: Any = 0
        try:
            code = super().main(
                args=args,
                prog_name=prog_name,
                complete_var=complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
            sys.stdout.flush()
        except AttnprofError as error:
            code = _report(_describe(error), error.exit_code)
        except typer.TyperException as error:
            format_message = getattr(error, "format_message", error.__str__)
            code = _report(format_message(), getattr(error, "exit_code", 2))
        except typer.Abort:
            code = INTERRUPTED
        except typer.Exit as end:
            code = end.exit_code
        except (BrokenPipeError, SystemExit):  # Rich and Typer turn the former into the latter
            streams.drop_stdout()  # the reader, such as `head`, has closed the pipe
        except OSError as error:
            streams.drop_stdout()
            message = f"could not write: {error.strerror or error}"
            code = _report(message, MeasurementError.exit_code)
        if standalone_mode:
            sys.exit(code or 0)
        return code

    def _main_shell_completion(
        self, ctx_args: Any, prog_name: str, complete_var: str | None = None
    ) -> None:
        """Answer a shell that asks for completions.

        Raises:
            typer.Exit: after an answer. Typer's SystemExit would look like a closed pipe.
        """
        try:
            super()._main_shell_completion(ctx_args, prog_name, complete_var)
        except SystemExit as end:
            sys.stdout.flush()
            raise typer.Exit(cast("int", end.code)) from None

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a signal ends it with its exit code."""
        with graceful_shutdown() as shutdown:
            try:
                super().invoke(ctx)
            except Interrupted:
                raise typer.Exit(_report(shutdown.word, shutdown.exit_code)) from None


def _prepare_streams() -> None:
    streams.prepare()
    if not sys.stdout.isatty():
        # Otherwise Typer and Rich would colour a pipe if CI requests colour.
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"


def _describe(error: AttnprofError) -> str:
    if isinstance(error, UsageError) and error.argument in _POSITIONAL:
        return f"{_shortened(str(error.value))}: {error.expected}"
    if isinstance(error, UsageError):
        name = f"--{parameter_of(error.argument).replace('_', '-')}"
    elif isinstance(error, SettingError) and error.value is not None:
        name = error.source
    else:
        return str(error)
    return f"{name} {_shortened(str(error.value))}".rstrip() + f": {error.expected}"


def _shortened(value: str) -> str:
    """A value, shortened to one readable line."""
    if len(value) <= _LONGEST_SHOWN:
        return value
    return f"{value[:_SHOWN_PREFIX]}... ({len(value):,} characters)"


def _report(message: str, exit_code: int) -> int:
    if message:  # empty where a command without arguments has printed its help
        typer.echo(f"attnprof: {' '.join(message.split())}", err=True)
    return exit_code
