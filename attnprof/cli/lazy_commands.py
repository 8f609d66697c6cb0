"""Commands that are imported when they run: help needs no more than their names and summaries."""

from __future__ import annotations

import importlib
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from attnprof.cli.variadic import VariadicCommand


class Deferred(TyperCommand):
    """Stands for the command of that name until it runs.

    Args:
        name: of the command, of its module in this folder and of what that module has: a function,
            or a Typer app of further commands.
        summary: the first line of its help.
    """

    def __init__(self, name: str, summary: str) -> None:
        super().__init__(name, help=summary, rich_markup_mode="rich")

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """The context of the command itself."""
        return self.load().make_context(info_name, args, parent, **extra)

    def load(self) -> TyperCommand | TyperGroup:
        """The command itself, its module imported."""
        found = getattr(importlib.import_module(f"{__package__}.{self.name}"), str(self.name))
        if isinstance(found, typer.Typer):
            return cast("TyperGroup", get_command(found))
        alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
        alone.command(self.name, cls=VariadicCommand)(found)
        return cast("TyperCommand", get_command(alone))
