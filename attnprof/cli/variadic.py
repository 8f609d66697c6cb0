"""Options that take several words: `--len 512 1024 4096`.

Click does not support such options by design. The words after a list option, up to the next
option, are therefore turned into repetitions of it before Click parses them. Positional arguments
of a command with such options come first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any

from attnprof.cli.plain_options import PlainCommand
from attnprof.core.errors import UsageError

_NUMBER = re.compile(r"-\d")
"""Start of a negative number, which is a value for its option to reject by name."""


_OPEN = "attnprof open option"
"""Key, in a context's `meta`, of the option that the word at the cursor belongs to."""


class VariadicCommand(PlainCommand):
    """A command whose list options take any number of values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Expand list options into repetitions, then parse as usual.

        Raises:
            UsageError: for a list option without a value.
        """
        lists = _options(self.params, lambda option: option.multiple)
        if ctx.resilient_parsing:  # a shell completes the word after these
            ctx.meta[_OPEN] = _open_option(args, lists)
            return super().parse_args(ctx, args)
        singles = _options(self.params, lambda option: not (option.multiple or option.is_flag))
        _check_values(args, singles, _options(self.params, lambda option: True))
        return super().parse_args(ctx, list(_repeated(args, lists)))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Complete another value of an option, or else the name of one."""
        for parameter in self.params:
            if ctx.meta[_OPEN] in parameter.opts and not incomplete.startswith("-"):
                return parameter.shell_complete(ctx, incomplete)
        return super().shell_complete(ctx, incomplete or "--")


def _open_option(args: Sequence[str], lists: Collection[str]) -> str:
    """The option that takes the next word, a list or one before `=`; empty if none does."""
    for word in reversed(args):
        if not _is_value(word):
            option = word.partition("=")[0]
            # bash passes `--dtype=b` as three words.
            return option if option in lists or args[-1] == "=" else ""
    return ""


def _options(parameters: Sequence[Any], is_wanted: Callable[[Any], bool]) -> set[str]:
    options = (each for each in parameters if each.param_type_name == "option")
    return {name for option in options if is_wanted(option) for name in option.opts}


def _check_values(args: Sequence[str], singles: Collection[str], known: Collection[str]) -> None:
    """Check that an option that needs a value is not followed by another option.

    Raises:
        UsageError: if it is.
    """
    for option, following in pairwise([*args, ""]):
        if option in singles and following.partition("=")[0] in known:
            raise UsageError(_argument(option), "(empty)", "needs a value")


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
            raise UsageError(_argument(option), "(empty)", "needs at least one value")
        yield from (f"{option}={word}" for word in values)


def _argument(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _is_value(word: str) -> bool:
    return not word.startswith("-") or bool(_NUMBER.match(word))
