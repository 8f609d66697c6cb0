"""Formats MACs, bytes and times, and parses lengths such as `4k`; no other module does."""

from __future__ import annotations

import math
import re

from attnprof.core.errors import UsageError

MAX_RANGE_LENGTHS = 100_000
"""A range with more lengths than this is taken for a typing mistake."""

MAX_NUMBER = 10**15
"""The largest length, size or count that an option accepts."""

_DECIMAL = ("", "K", "M", "G", "T", "P", "E")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
# In lengths k and M are binary, as is usual in the field: a 4k model takes 4,096 tokens.
_LENGTH_FACTORS = {"": 1, "k": 1024, "m": 1024**2}
_LENGTH = re.compile(r"(\d+)([km]?)", re.IGNORECASE)
_RANGE = re.compile(r"([^:]+):([^:]+):([x+])([^:]+)")
_LENGTH_FORMS = (
    "must be a positive whole number, such as 512, 4k (4,096) or 1M, or a range, such as "
    "512:8192:x2"
)

_LONG = ((172_800, 86_400, "days"), (7_200, 3_600, "h"), (600, 60, "min"))
"""(from this many seconds, seconds per unit, unit) of `format_long_duration`."""


def _scaled(
    value: float, base: int, suffixes: tuple[str, ...], rounding: float
) -> tuple[float, str]:
    step = 0
    # What would round up to the base already belongs to the next unit.
    while abs(value) >= base - rounding and step < len(suffixes) - 1:
        value /= base
        step += 1
    return value, suffixes[step]


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def format_macs(macs: int, unit: str = "Mac") -> str:
    """MACs to four digits with a decimal unit: `3_422_552_064` is `3.423 GMac`."""
    if macs < 1000:
        return f"{macs} {unit}".rstrip()
    value, prefix = _scaled(macs, 1000, _DECIMAL, rounding=0.05)
    digits = 1 if value >= 99.995 else 2 if value >= 9.9995 else 3
    return f"{value:.{digits}f} {prefix}{unit}"


def format_bytes(count: int) -> str:
    """Bytes to three digits with a binary unit: `1_648_361_472` is `1.54 GiB`."""
    value, suffix = _scaled(count, 1024, _BINARY, rounding=0.5)
    return f"{count} B" if suffix == "B" else f"{_three_digits(value)} {suffix}"


def format_duration(nanoseconds: int) -> str:
    """Nanoseconds to three digits: `1_020_000_000` is `1.02 s`."""
    for factor, suffix in ((10**9, "s"), (10**6, "ms"), (10**3, "µs")):
        if nanoseconds >= factor * 0.9995:
            return f"{_three_digits(nanoseconds / factor)} {suffix}"
    return f"{nanoseconds} ns"


def format_long_duration(nanoseconds: int) -> str:
    """As `format_duration`, from ten minutes on in minutes, hours and days: `12.2 h`."""
    for least_s, factor_s, suffix in _LONG:
        if nanoseconds >= least_s * 10**9:
            return f"{_three_digits(nanoseconds / 10**9 / factor_s)} {suffix}"
    return format_duration(nanoseconds)


def format_ratio(ratio: float, unit: str = "x") -> str:
    """A ratio to three digits: `0.45x`, `12.5x`, `1,204x`."""
    return f"{_three_digits(ratio)}{unit}"


def format_share(part: float, whole: int, digits: int = 1) -> str:
    """A share in percent, with one decimal place or `digits`: `52.9 %`."""
    return f"{100 * part / whole:.{digits}f} %"


def format_percent(part: float) -> str:
    """A fraction in percent to two digits: `0.8 %`, `12 %`, `150 %`."""
    percent = 100 * part
    return f"{percent:.1f} %" if percent < 9.95 else f"{percent:,.0f} %"


def format_count(count: int) -> str:
    """All digits of an integer, with thousands separators: `10,000,000`."""
    return f"{count:,}"


def format_about(value: float, spread: float) -> str:
    """A number rounded to half its spread: `763.2` with a spread of 157 is `760`."""
    digits = math.floor(math.log10(max(1.0, spread / 2)))
    return format_count(round(value / 10**digits) * 10**digits)


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
