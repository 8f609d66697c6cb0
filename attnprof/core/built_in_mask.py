"""Built-in masks by name and arguments, such as `bigbird:block=128`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from attnprof.core import masks
from attnprof.core.errors import UsageError, suggest
from attnprof.core.masks import MaskMod
from attnprof.core.option_values import parse_whole_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Argument = int | tuple[int, ...]
Arguments = tuple[tuple[str, Argument], ...]
"""Names and values of arguments, in the order in which they were written."""

SIZES = ("seq_len", "num_heads")
"""Parameters that are passed to a function that names them."""

_TABLE = "as_table"
_MAY_BE_ZERO = ("seed", "random_blocks", "global_blocks", "causal", "summary", "prefix")
_FORMS = "must be NAME or NAME:KEY=N:KEY=N, with whole numbers, or several of them as 1+2+4"


@dataclass(frozen=True, slots=True)
class BuiltInMask:
    """A mask of `attnprof.core.masks`.

    Attributes:
        name: one of `masks.names`.
        arguments: of its `make_mask`.

    Raises:
        UsageError: (a `ValueError`) for an argument that it does not have, or of a wrong value.
    """

    name: str
    arguments: Arguments = ()

    def __post_init__(self) -> None:
        parameters = inspect.signature(masks.maker(self.name)).parameters
        own = {
            name: parameter.default
            for name, parameter in parameters.items()
            if name not in (*SIZES, _TABLE)
        }
        for name, value in self.arguments:
            shown = f"{name}={format_argument(value)}"
            if name not in own:
                raise UsageError("pattern", self.text, f"has no {name}; {suggest(name, own)}")
            if isinstance(own[name], tuple) != isinstance(value, tuple):
                if not isinstance(own[name], tuple):
                    expected = f"{shown} must be one whole number"
                    raise UsageError("pattern", self.text, expected)
                self._set(name, (cast("int", value),))
            least = 0 if name in _MAY_BE_ZERO else 1
            values = value if isinstance(value, tuple) else (value,)
            if min(values) < least:
                raise UsageError("pattern", self.text, f"{shown} must be at least {least}")

    def _set(self, name: str, value: Argument) -> None:
        arguments = tuple((key, value if key == name else old) for key, old in self.arguments)
        object.__setattr__(self, "arguments", arguments)

    @property
    def text(self) -> str:
        """As `--pattern` takes it."""
        return format_mask_function(self.name, self.arguments)

    @property
    def is_known(self) -> bool:
        """True: it can be evaluated."""
        return True

    def attended(
        self, seq_len: int, num_heads: int, queries: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Bool `(num_heads or 1, queries, keys)`."""
        import numpy as np

        # 32 bits: half the memory traffic, and no length that can be evaluated needs more.
        query, key = queries.astype(np.int32)[:, None], keys.astype(np.int32)[None, :]
        head = np.arange(num_heads, dtype=np.int32)[:, None, None]
        mask = _made(self, seq_len, num_heads)(np.int32(0), head, query, key)
        heads = len(mask) if mask.ndim == 3 else 1
        return np.broadcast_to(mask, (heads, len(queries), len(keys)))

    def mask_mod(self, seq_len: int, num_heads: int, as_table: Callable[[Any], Any]) -> MaskMod:
        """The function in FlexAttention's signature, whose tables `as_table` makes."""
        make = masks.maker(self.name)
        given = {"seq_len": seq_len, "num_heads": num_heads, _TABLE: as_table}
        named = inspect.signature(make).parameters
        try:
            return make(
                **{name: value for name, value in given.items() if name in named},
                **dict(self.arguments),
            )
        except UsageError as error:
            reason = f"{error.argument}={error.value} {error.expected}"
            raise UsageError("pattern", self.text, reason) from error


@lru_cache(maxsize=8)
def _made(function: BuiltInMask, seq_len: int, num_heads: int) -> MaskMod:
    import numpy as np

    return function.mask_mod(seq_len, num_heads, np.asarray)


def parse_arguments(text: str, parts: list[str]) -> Arguments:
    """Arguments from parts such as `block=128` and `segments=128+256`.

    Args:
        text: the option's complete value, for messages.
        parts: of the value.

    Raises:
        UsageError: for a part of another form, and for a name that occurs twice.
    """
    arguments: dict[str, Argument] = {}
    for part in parts:
        name, has_value, value = part.partition("=")
        if not (has_value and name.isidentifier()):
            raise UsageError("pattern", text, _FORMS)
        if name in arguments:
            raise UsageError("pattern", text, f"has {name} twice")
        numbers = [
            parse_whole_number(digits, "pattern", text, _FORMS) for digits in value.split("+")
        ]
        arguments[name] = tuple(numbers) if len(numbers) > 1 else numbers[0]
    return tuple(arguments.items())


def format_mask_function(name: str, arguments: Arguments) -> str:
    """The text that is read as this name with these arguments."""
    parts = (f"{key}={format_argument(value)}" for key, value in arguments)
    return ":".join((name, *parts))


def format_argument(value: Argument) -> str:
    """One value of an argument as text."""
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


def parse_built_in(text: str) -> BuiltInMask | None:
    """The built-in mask that a text names; None if it names none.

    Raises:
        UsageError: for arguments that it does not have.
    """
    name, *parts = text.split(":")
    if name not in masks.names():
        return None
    return BuiltInMask(name, parse_arguments(text, parts))
