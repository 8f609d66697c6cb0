"""Options that take several words: `--len 512 1024 4096`.

Click refuses such options by design, so the words after a list option, up to the next option, are
turned into repetitions of it before Click parses them. Commands with such options take no
positional arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any

from attnprof.cli.plain_options import PlainCommand
from attnprof.core.errors import UsageError

_NUMBER = re.compile(r"-\d")
"""A word that begins so is a negative number, which its option is to refuse by name."""


class VariadicCommand(PlainCommand):
    """A command whose list options take any number of words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Spell out repetitions, then parse as ever.

        Raises:
            UsageError: for a list option without a word.
        """
        lists = _options(self.params, lambda option: option.multiple)
        singles = _options(self.params, lambda option: not (option.multiple or option.is_flag))
        _check_values(args, singles, _options(self.params, lambda option: True))
        return super().parse_args(ctx, list(_repeated(args, lists)))


def _options(parameters: Sequence[Any], is_wanted: Callable[[Any], bool]) -> set[str]:
    return {name for option in parameters if is_wanted(option) for name in option.opts}


def _check_values(args: Sequence[str], singles: Collection[str], known: Collection[str]) -> None:
    """An option that needs a value does not take the next option for it."""
    for option, following in pairwise([*args, ""]):
        if option in singles and following.partition("=")[0] in known:
            raise UsageError(_argument(option), "(nothing)", "needs a value")


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
            raise UsageError(_argument(option), "(nothing)", "needs one value or more")
        yield from (f"{option}={word}" for word in values)


def _argument(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _is_value(word: str) -> bool:
    return not word.startswith("-") or bool(_NUMBER.match(word))
