"""Commands that are imported when they run: help needs only their names and summaries."""

from __future__ import annotations

import importlib
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from attnprof.cli.configurable import ConfigurableCommand


class LazyCommand(TyperCommand):
    """Placeholder for a command, which is imported when it runs.

    Args:
        name: of the command, of its module in this folder, and of the object in that module: a
            function, or a Typer app with subcommands.
        summary: first line of its help.
    """

    def __init__(self, name: str, summary: str) -> None:
        super().__init__(name, help=summary, rich_markup_mode="rich")

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """The context of the real command."""
        return self.load().make_context(info_name, args, parent, **extra)

    def load(self) -> TyperCommand | TyperGroup:
        """Import the module and return the real command."""
        command = getattr(importlib.import_module(f"{__package__}.{self.name}"), str(self.name))
        if isinstance(command, typer.Typer):
            return cast("TyperGroup", get_command(command))
        app = typer.Typer(add_completion=False, rich_markup_mode="rich")
        app.command(self.name, cls=ConfigurableCommand)(command)
        return cast("TyperCommand", get_command(app))
