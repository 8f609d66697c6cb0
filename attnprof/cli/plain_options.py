"""A command whose options are text as it was typed; `attnprof.options` reads it.

Typer would have Pydantic convert values, which takes as long to import as all of an estimate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from attnprof.core.errors import AttnprofError, UsageError, suggest_or_none

if TYPE_CHECKING:
    _Base = TyperCommand
else:
    _Base = object

_LENGTHS = re.compile(r"[\d,.:x+km]+", re.IGNORECASE)


class CommandLineError(AttnprofError):
    """Words that no option takes; the message names them."""

    exit_code = 2


class _AsTyped:
    """What Typer asks for values: they are left as they are."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value; an empty tuple for an option of many that was not given."""
        takes_many = param.multiple or param.nargs == -1
        return () if value is None and takes_many else value


class ValuesAsTyped(_Base):
    """A command or group whose values are text."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, the one for help as well."""
        parameters: list[Any] = list(super().get_params(ctx))
        for parameter in parameters:
            parameter.get_runtime_param = _AsTyped
        return parameters


class PlainGroup(ValuesAsTyped, TyperGroup):
    """A group of such commands."""


class PlainCommand(ValuesAsTyped, TyperCommand):
    """A command that hands over what was typed, and says of unknown words what could be meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, and refuse what is no option.

        Raises:
            CommandLineError: for an unknown option, or a word that belongs to none.
            UsageError: for an option with an empty value.
        """
        typed = list(args)
        ctx.allow_extra_args = True
        try:
            rest = super().parse_args(ctx, args)
        except typer.TyperException as error:
            option = getattr(error, "option_name", None)
            if not hasattr(error, "possibilities"):
                raise
            words = f"see {ctx.command_path} --help"
            raise CommandLineError(unknown(str(option), typed, self.params, words)) from error
        if rest and not ctx.resilient_parsing:
            raise CommandLineError(_stray(rest, self.params, ctx))
        for name, value in ctx.params.items():
            if value == "":
                raise UsageError(name, "(nothing)", "needs a value")
        return rest


def unknown(option: str, typed: Sequence[str], parameters: Sequence[Any], otherwise: str) -> str:
    """What is said of an unknown option; `-len` reaches Click as `-l`.

    Args:
        option: as Click has it.
        typed: all words.
        parameters: of the command.
        otherwise: what to say where no option is near.
    """
    whole = next((word for word in typed if word.startswith(option)), option).partition("=")[0]
    known = [name for one in parameters for name in one.opts if name.startswith("--")]
    name = f"--{whole.lstrip('-')}"
    inside = [one for one in known if name in one]
    close = inside[0] if len(inside) == 1 else suggest_or_none(name, known)
    words = f"did you mean {close}?" if close else otherwise
    return f"{whole}: there is no such option; {words}"


def _stray(words: Sequence[str], parameters: Sequence[Any], ctx: Any) -> str:
    """What is said of words that belong to no option."""
    option = "--len" if all(_LENGTHS.fullmatch(word) for word in words) else _option_of(words[0])
    said = " ".join(words)
    if any(option in one.opts for one in parameters):
        return f"{said}: name the option, as {option} {said}"
    return f"{said}: belongs to no option; see {ctx.command_path} --help"


def _option_of(word: str) -> str:
    """The option that a word is a value of, as its form has it; empty where it tells nothing."""
    from attnprof import kernels

    if word in kernels.names() or kernels.is_custom(word):
        return "--kernel"
    suffix = word.rpartition(".")[2]
    return {"csv": "--csv", "json": "--json", "md": "--markdown", "png": "--png"}.get(suffix, "")
