"""Options that take several words: `--len 512 1024 4096`.

Click refuses such options by design, so the words after a list option, up to the next option, are
turned into repetitions of it before Click parses them. Commands with such options take no
positional arguments.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from typer.core import TyperCommand

from attnprof.errors import UsageError

_NUMBER = re.compile(r"-\d")
"""A word that begins so is a negative number, which its option is to refuse by name."""


class VariadicCommand(TyperCommand):
    """A command whose list options take any number of words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Spell out repetitions, then parse as ever.

        Raises:
            UsageError: for a list option without a word.
        """
        lists = {
            option
            for parameter in self.params
            if getattr(parameter, "multiple", False)
            for option in parameter.opts
        }
        return super().parse_args(ctx, list(_repeated(args, lists)))


def _repeated(args: Sequence[str], lists: Collection[str]) -> Iterator[str]:
    position = 0
    while position < len(args):
        option, has_value, value = args[position].partition("=")
        position += 1
        if option not in lists:
            yield args[position - 1]
            continue
        values = [value] if has_value else []
        while position < len(args) and _is_value(args[position]):
            values.append(args[position])
            position += 1
        if not any(values):
            argument = option.removeprefix("--").replace("-", "_")
            raise UsageError(argument, "(nothing)", "needs one value or more")
        yield from (f"{option}={word}" for word in values)


def _is_value(word: str) -> bool:
    return not word.startswith("-") or bool(_NUMBER.match(word))
