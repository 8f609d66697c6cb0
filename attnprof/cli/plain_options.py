"""Commands whose option values stay text as typed; `attnprof.options` reads them.

Typer would convert values with Pydantic, whose import takes as long as a whole estimate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from attnprof.core.errors import AttnprofError, UsageError, suggest, suggest_or_none

if TYPE_CHECKING:
    _Base = TyperCommand
else:
    _Base = object

_LENGTHS = re.compile(r"[\d,.:x+km]+", re.IGNORECASE)


_PARAMETERS = {"seq_len": "len", "global_positions": "global_tokens"}
"""Arguments of the package that have another name on the command line."""


class CommandLineError(AttnprofError):
    """Arguments that no option accepts; the message names them."""

    exit_code = 2


class _AsTyped:
    """Typer's conversion of values, replaced by none."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value as it is; an empty tuple for a list option that was not given."""
        takes_many = param.multiple or param.nargs == -1
        return () if value is None and takes_many else value


class ValuesAsTyped(_Base):
    """A command or group whose option values stay text."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, including the one for help."""
        parameters: list[Any] = list(super().get_params(ctx))
        for parameter in parameters:
            parameter.get_runtime_param = _AsTyped
            _describe(parameter)
        return parameters


def _describe(parameter: Any) -> None:
    """Put the default into the help, and no type behind a flag, which takes no value."""
    if parameter.param_type_name == "argument":
        parameter.display_type_rich = _no_type
    if getattr(parameter, "is_flag", False):
        parameter.metavar = ""
    elif parameter.show_default and isinstance(parameter.default, str):
        parameter.help = with_default(parameter.help, parameter.default)
    parameter.show_default = False


def _no_type(ctx: Any) -> None:
    """The type of a positional argument, whose name says it."""


def with_default(help: str, default: str) -> str:
    """The help of an option, with its default in the style that all options share."""
    return rf"{help} [dim]\[default: {default}][/]" if default else help


class PlainGroup(ValuesAsTyped, TyperGroup):
    """A group of commands whose option values stay text; suggests corrections for unknown words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what comes before the command.

        Raises:
            CommandLineError: for an option of a command in that place.
        """
        typed = tuple(args)
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            option = getattr(error, "option_name", None)
            if not option:
                raise
            hint = f"options go after the command; see {ctx.command_path} --help"
            raise CommandLineError(unknown(option, typed, self.params, hint)) from error

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command.

        Raises:
            CommandLineError: for an unknown name.
        """
        try:
            return super().resolve_command(ctx, args)
        except typer.TyperException as error:
            hint = suggest(args[0], self.list_commands(ctx))
            raise CommandLineError(f"{args[0]}: unknown command; {hint}") from error


class PlainCommand(ValuesAsTyped, TyperCommand):
    """A command that passes values on as typed, and suggests corrections for unknown arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises:
            CommandLineError: for an unknown option, an argument that belongs to no option, or a
                flag with a value.
            UsageError: for an option without a value.
        """
        typed = list(args)
        ctx.allow_extra_args = True
        try:
            rest = super().parse_args(ctx, args)
        except typer.TyperException as error:
            option = getattr(error, "option_name", None)
            if option and not hasattr(error, "possibilities"):
                if any(word.startswith(f"{option}=") for word in typed):
                    raise CommandLineError(f"{option}: takes no value") from error
                raise UsageError(str(option).lstrip("-"), "(empty)", "needs a value") from error
            if not option:
                raise
            hint = f"see {ctx.command_path} --help"
            raise CommandLineError(unknown(str(option), typed, self.params, hint)) from error
        if rest and not ctx.resilient_parsing:
            raise CommandLineError(_stray(rest, self.params, ctx))
        for name, value in ctx.params.items():
            if value == "":
                raise UsageError(name, "(empty)", "needs a value")
        return rest


def parameter_of(argument: str) -> str:
    """The name of the option, as in Python, that an argument of the package comes from."""
    return _PARAMETERS.get(argument, argument)


def unknown(option: str, typed: Sequence[str], parameters: Sequence[Any], hint: str) -> str:
    """The message for an unknown option; Click parses `-len` as `-l`.

    Args:
        option: as Click parsed it.
        typed: all arguments.
        parameters: of the command.
        hint: used if no known option is similar.
    """
    full_option = next((word for word in typed if word.startswith(option)), option)
    full_option = full_option.partition("=")[0]
    known = [name for parameter in parameters for name in parameter.opts if name.startswith("--")]
    name = f"--{full_option.lstrip('-')}"
    containing = [candidate for candidate in known if name in candidate]
    close = containing[0] if len(containing) == 1 else suggest_or_none(name, known)
    hint = f"did you mean {close}?" if close else hint
    return f"{full_option}: unknown option; {hint}"


def _stray(words: Sequence[str], parameters: Sequence[Any], ctx: Any) -> str:
    """The message for arguments that belong to no option."""
    option = "--len" if all(_LENGTHS.fullmatch(word) for word in words) else _option_of(words[0])
    typed = " ".join(words)
    if any(option in parameter.opts for parameter in parameters):
        return f"{typed}: name the option: {option} {typed}"
    return f"{typed}: does not belong to an option; see {ctx.command_path} --help"


def _option_of(word: str) -> str:
    """The option that an argument looks like a value of; empty if it looks like none."""
    from attnprof import kernels

    if word in kernels.names() or kernels.is_custom(word):
        return "--kernel"
    suffix = word.rpartition(".")[2]
    return {"csv": "--csv", "json": "--json", "md": "--markdown", "png": "--png"}.get(suffix, "")
