"""Checks of arguments: integers of any type, and sequences of any type."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import SupportsIndex, cast

from attnprof.core.errors import UsageError


def whole_number(argument: str, value: object, minimum: int, expected: str) -> int:
    """An int from an integer of any type, such as numpy's.

    Args:
        argument: the argument's name, for messages.
        value: what was passed.
        minimum: the smallest valid value.
        expected: what would be valid, for messages.

    Raises:
        UsageError: if the value is not an integer, is a bool, or is below `minimum`.
    """
    try:
        # numpy's bool supports __index__, too.
        number = (
            None if "bool" in type(value).__name__ else operator.index(cast("SupportsIndex", value))
        )
    except TypeError:
        number = None
    if number is None or number < minimum:
        raise UsageError(argument, value, expected)
    return number


def elements_of(argument: str, value: object, expected: str) -> list[object]:
    """The elements of a sequence, an array or a range.

    Raises:
        UsageError: if the value is not iterable, or is text.
    """
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return list(cast("Iterable[object]", value))
    raise UsageError(argument, value, expected)
