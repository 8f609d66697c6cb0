"""Errors as one line on stderr, with the exit code of their kind."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from attnprof.cli.commands import SUMMARIES
from attnprof.cli.lazy_commands import Deferred
from attnprof.cli.plain_options import CommandLineError, PlainGroup, unknown
from attnprof.cli.signals import graceful_shutdown
from attnprof.core.errors import AttnprofError, Interrupted, MeasurementError, UsageError
from attnprof.report import streams

INTERRUPTED = 130

_LONGEST_SHOWN = 200
_KEPT = 40

# Arguments of the package that have another name on the command line.
_OPTIONS = {"seq_len": "len", "global_positions": "global-tokens"}


class ErrorHandlingGroup(PlainGroup):
    """All commands; an error ends them with a line that names the option, no traceback or frame."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update({name: Deferred(name, line) for name, line in SUMMARIES.items()})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before the command.

        Raises:
            CommandLineError: for an option of a command there.
        """
        typed = tuple(args)
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            option = getattr(error, "option_name", None)
            if not option:
                raise
            otherwise = "options stand behind a command, as in attnprof compare --len 512"
            raise CommandLineError(unknown(option, typed, self.params, otherwise)) from error

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and turn errors into exit codes as the design's contract has them."""
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
            code = _tell(_describe(error), error.exit_code)
        except typer.TyperException as error:
            format_message = getattr(error, "format_message", error.__str__)
            code = _tell(format_message(), getattr(error, "exit_code", 2))
        except typer.Abort:
            code = INTERRUPTED
        except (
            BrokenPipeError,
            SystemExit,
        ):  # the latter is Rich's and Typer's word for the former
            streams.drop_stdout()  # its reader, such as `head`, has seen enough
        except OSError as error:
            streams.drop_stdout()
            message = f"could not write: {error.strerror or error}"
            code = _tell(message, MeasurementError.exit_code)
        if standalone_mode:
            sys.exit(code or 0)
        return code

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a signal ends it."""
        with graceful_shutdown() as ending:
            try:
                super().invoke(ctx)
            except Interrupted:
                raise typer.Exit(_tell(ending.word, ending.exit_code)) from None


def _prepare_streams() -> None:
    streams.prepare()
    if not sys.stdout.isatty():
        # Typer and Rich would otherwise colour a pipe where CI asks for colour.
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"


def _describe(error: AttnprofError) -> str:
    if not isinstance(error, UsageError):
        return str(error)
    option = _OPTIONS.get(error.argument, error.argument.replace("_", "-"))
    return f"--{option} {_shortened(str(error.value))}: {error.expected}"


def _shortened(value: str) -> str:
    """A value in one readable line."""
    if len(value) <= _LONGEST_SHOWN:
        return value
    return f"{value[:_KEPT]}... ({len(value):,} characters)"


def _tell(message: str, exit_code: int) -> int:
    typer.echo(f"attnprof: {' '.join(message.split())}", err=True)
    return exit_code
