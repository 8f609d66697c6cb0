"""Reads single option values, given as on the command line or as Python objects."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from attnprof.core.errors import UsageError

Values = int | str | Sequence[int | str]
"""Values of an option in Python: a string as on the command line, an int, or a sequence of them."""

Dilations = Values | tuple[int, ...] | Sequence[int | str | tuple[int, ...]]
"""Values of `dilation`: a tuple of ints is one value, with a stride for each head."""

MAX_NUMBER = 10**15
"""The largest length, size or count that an option accepts."""

MAX_SECONDS = 10**8
"""Three years, the longest time that an option accepts."""

MAX_THREADS = 4096

EMPTY_VALUE = "(empty)"
"""How an error names an empty value."""


def read_whole_number(options: Mapping[str, object], name: str, default: int) -> int:
    """A positive whole number, from an int or its text.

    Raises:
        UsageError: for anything else.
    """
    value = options.get(name)
    if value is None:
        return default
    expected = "must be a positive whole number"
    number = parse_whole_number(_text(value), name, _text(value), expected)
    if number < 1:
        raise UsageError(name, value, expected)
    return number


def split_values(
    options: Mapping[str, object],
    name: str,
    default: Iterable[int | str],
    split: Callable[[str], list[str]] = lambda text: [part.strip() for part in text.split(",")],
) -> list[str]:
    """The values of one option as strings, split at commas.

    Args:
        options: by name.
        name: the option.
        default: its values where it is None or missing.
        split: how one string is split into values.

    Raises:
        UsageError: where there is no value, or an empty one.
    """
    values = options.get(name)
    if values is None:
        return [str(value) for value in default]
    if isinstance(values, str) or not isinstance(values, Iterable):
        values = (values,)
    words: list[str] = []
    for value in cast("Iterable[object]", values):
        parts = split(str(value) if isinstance(value, str) else _text(value))
        if "" in parts:
            raise UsageError(name, value or EMPTY_VALUE, "contains an empty value")
        words += parts
    if not words:
        raise UsageError(name, EMPTY_VALUE, "needs at least one value")
    return words


def read_dilations(options: Mapping[str, object], default: str, num_heads: int) -> list[str]:
    """The values of `dilation` as strings; a tuple of strides is one value, such as `1:1:2:2`.

    Args:
        options: by name.
        default: the value where `dilation` is None or missing.
        num_heads: heads of a layer.

    Raises:
        UsageError: for a list of as many strides as there are heads, which may mean either.
    """
    values = options.get("dilation")
    if isinstance(values, tuple) and not any(isinstance(value, str | tuple) for value in values):
        values = [cast("tuple[int, ...]", values)]
    elif isinstance(values, list):
        several = cast("list[object]", values)
        is_flat = not any(isinstance(value, str | tuple) for value in several)
        if is_flat and len(several) == num_heads > 1:
            raise UsageError(
                "dilation",
                values,
                "use a tuple for a stride for each head, or a list of strings such as "
                "['1', '2'] for several values to compare",
            )
    if isinstance(values, list | tuple):
        values = [
            ":".join(map(str, cast("tuple[int, ...]", value)))
            if isinstance(value, tuple)
            else value
            for value in cast("list[object]", values)
        ]
    return split_values({"dilation": values}, "dilation", (default,))


def _text(value: object) -> str:
    """A value as text; `str` refuses integers of thousands of digits, whose number is given."""
    try:
        return str(value) or EMPTY_VALUE
    except ValueError:
        return f"of {math.ceil(cast('int', value).bit_length() * math.log10(2)):,} digits"


def read_fraction(name: str, value: object, default: float) -> float:
    """A fraction between 0 and 1, from a number or its text.

    Args:
        name: the option.
        value: its value; None is `default`.
        default: the fraction.

    Raises:
        UsageError: for anything else.
    """
    try:
        fraction = default if value is None else float(str(value))
    except ValueError:
        fraction = 0.0
    if not 0 < fraction < 1:
        raise UsageError(name, value, "must be a fraction between 0 and 1, such as 0.05 for 5 %")
    return fraction


def read_seconds(name: str, value: object, default: float) -> float:
    """A positive number of seconds, from a number or its text.

    Args:
        name: the option.
        value: its value; None is `default`.
        default: seconds.

    Raises:
        UsageError: for anything else, and for more than `MAX_SECONDS`.
    """
    text = str(default) if value is None else str(value)
    try:
        seconds = float(text) if text.isascii() else 0.0
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MAX_SECONDS:
        expected = f"must be a positive number of seconds, at most {MAX_SECONDS:,}"
        raise UsageError(name, value, expected)
    return seconds


def read_threads(options: Mapping[str, object]) -> int | None:
    """The number of CPU threads; None for torch's own choice.

    Raises:
        UsageError: for anything but a whole number from 1 to `MAX_THREADS`.
    """
    if options.get("threads") is None:
        return None
    threads = read_whole_number(options, "threads", 1)
    if threads > MAX_THREADS:
        raise UsageError("threads", threads, f"must be a whole number from 1 to {MAX_THREADS:,}")
    return threads


def parse_whole_number(text: str, argument: str, shown: str, forms: str) -> int:
    """An integer, 0 or more, from decimal digits in the value of an option.

    Args:
        text: the digits.
        argument: the option's name, for messages.
        shown: the option's complete value, for messages.
        forms: what would be valid, for messages.

    Raises:
        UsageError: for other characters, and for a number above `MAX_NUMBER`.
    """
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(argument, shown, forms)
    digits = text.lstrip("0") or "0"  # int() refuses more than some thousand digits
    if len(digits) > len(str(MAX_NUMBER)) or int(digits) > MAX_NUMBER:
        raise UsageError(argument, shown, f"must be at most {MAX_NUMBER:,}")
    return int(digits)
