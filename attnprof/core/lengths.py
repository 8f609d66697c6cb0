"""Parses lengths of `--len`: `512`, `4k`, and ranges such as `512:8192:x2`."""

from __future__ import annotations

import re

from attnprof.core.errors import UsageError
from attnprof.core.option_values import MAX_NUMBER, parse_whole_number

MAX_RANGE_LENGTHS = 100_000
"""A range with more lengths than this is taken for a typing mistake."""

# In lengths k and M are binary, as is usual in the field: a 4k model takes 4,096 tokens.
_LENGTH_FACTORS = {"": 1, "k": 1024, "m": 1024**2}

_LENGTH = re.compile(r"(\d+)([km]?)", re.IGNORECASE)

_RANGE = re.compile(r"([^:]+):([^:]+):([x+])([^:]+)")

_LENGTH_FORMS = (
    "must be a positive whole number, such as 512, 4k (4,096) or 1M, or a range, such as "
    "512:8192:x2"
)


def _parse_length(text: str, value: str) -> int:
    match = _LENGTH.fullmatch(text.strip())
    if not match:
        raise UsageError("len", value, _LENGTH_FORMS)
    count = parse_whole_number(match[1], "len", value, _LENGTH_FORMS)
    length = count * _LENGTH_FACTORS[match[2].lower()]
    if length < 1:
        raise UsageError("len", value, _LENGTH_FORMS)
    if length > MAX_NUMBER:
        raise UsageError("len", value, f"must be at most {MAX_NUMBER:,} tokens")
    return length


def _parse_range(match: re.Match[str], value: str) -> list[int]:
    start, stop = _parse_length(match[1], value), _parse_length(match[2], value)
    step = _parse_length(match[4], value)
    grows_by_factor = match[3] == "x"
    if start > stop:
        raise UsageError("len", value, f"a range must ascend: {stop}:{start}:{match[3]}{match[4]}")
    if grows_by_factor and step < 2:
        raise UsageError("len", value, "the factor of a range must be 2 or more, such as x2")
    lengths: list[int] = []
    length = start
    while length <= stop:
        lengths.append(length)
        if len(lengths) > MAX_RANGE_LENGTHS:
            raise UsageError(
                "len", value, f"a range must have at most {MAX_RANGE_LENGTHS:,} lengths"
            )
        length = length * step if grows_by_factor else length + step
    return lengths


def parse_lengths(text: str) -> list[int]:
    """Lengths in tokens from one value of `--len`.

    `512`, `4k` (k is 1,024 and M is 1,048,576), ranges by a factor (`512:8192:x2`) and by a step
    (`512:4096:+512`). The end of a range is included if a step reaches it.

    Raises:
        UsageError: for anything else.
    """
    match = _RANGE.fullmatch(text)
    return _parse_range(match, text) if match else [_parse_length(text, text)]
