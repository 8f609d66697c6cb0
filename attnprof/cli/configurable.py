"""Commands whose options have defaults in the environment and in pyproject.toml."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attnprof.cli.plain_options import parameter_of
from attnprof.cli.settings import (
    NAMES,
    OF_CASES,
    OWN_TABLE_ONLY,
    PREFIX,
    Setting,
    SettingError,
    read_settings,
)
from attnprof.cli.variadic import VariadicCommand
from attnprof.core.errors import UsageError

COMMAND_LINE = "attnprof command line"
"""Key, in a context's `meta`, of the words after the command, those of settings included."""

_SETTINGS = "attnprof settings"
"""Key of the settings in a context's `meta`."""

_STUDY = "--sweep"


class ConfigurableCommand(VariadicCommand):
    """A command whose options take their defaults from settings; errors name the source."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the settings, then parse as usual.

        Raises:
            SettingError: for a setting that cannot be used, unless help is asked for.
        """
        typed = tuple(args)
        ctx.meta[_SETTINGS] = {}
        if not ctx.resilient_parsing:
            try:
                ctx.meta[_SETTINGS] = self._settings()
            except SettingError:
                if not set(args).intersection(ctx.help_option_names):
                    raise
            if any(word.partition("=")[0] == _STUDY for word in args):
                for name in OF_CASES:
                    ctx.meta[_SETTINGS].pop(name, None)
        ctx.default_map = {name: setting.value for name, setting in ctx.meta[_SETTINGS].items()}
        rest = super().parse_args(ctx, args)
        ctx.meta[COMMAND_LINE] = (*typed, *_words_in_effect(ctx))
        return rest

    def _settings(self) -> dict[str, Setting]:
        names = [parameter.name for parameter in self.params]
        try:
            folder = Path.cwd()
        except FileNotFoundError:
            folder = None
        return read_settings(str(self.name), names, os.environ, folder)

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            SettingError: in place of a `UsageError` about the value of a setting.
        """
        try:
            return super().invoke(ctx)
        except UsageError as error:
            name = parameter_of(error.argument)
            if not _is_in_effect(ctx, name):
                raise
            raise SettingError(
                ctx.meta[_SETTINGS][name].source, error.value, error.expected
            ) from error

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help; it ends with the settings that are in effect."""
        settings: dict[str, Setting] = ctx.meta[_SETTINGS]
        own = OWN_TABLE_ONLY.get(str(self.name), ())
        names = [p.name for p in self.params if p.name in NAMES and p.name not in own]
        tables = f"[tool.attnprof] or [tool.attnprof.{self.name}]"
        variable = f"{PREFIX}{names[0].upper()}"
        lines = [f"Set defaults in {tables} of pyproject.toml, or in variables such as {variable}."]
        for name, setting in settings.items():
            option = " ".join(setting.words(name))
            lines.append(f"{option}{'' if setting.value else ' is off'}: set by {setting.source}")
        self.epilog = "\n".join(lines).replace("[", r"\[")
        super().format_help(ctx, formatter)

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters; help comes last, as every other one has a panel."""
        *parameters, help_option = super().get_params(ctx)
        options = [p for p in parameters if p.param_type_name == "option"]
        if all(option.rich_help_panel for option in options):
            help_option.rich_help_panel = "Help"
        return [*parameters, help_option]


def _is_in_effect(ctx: Any, name: str) -> bool:
    """Whether the value of an option comes from a setting."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT_MAP"


def _words_in_effect(ctx: Any) -> Iterator[str]:
    """The settings as words of the command line; a flag that is off has none."""
    for name, setting in ctx.meta[_SETTINGS].items():
        if setting.value and _is_in_effect(ctx, name):
            yield from setting.words(name)
