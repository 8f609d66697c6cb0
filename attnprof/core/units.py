"""Formats counts, MACs, bytes, times and ratios for people."""

from __future__ import annotations

import math

_DECIMAL = ("", "K", "M", "G", "T", "P", "E")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

_LONG = ((172_800, 86_400, "days"), (7_200, 3_600, "h"), (600, 60, "min"))
"""(from this many seconds, seconds per unit, unit) of `format_long_duration`."""


_LEAST_RATIO = 0.095
"""Ratios below this would have one digit with two decimal places."""

_MOST_PERCENT = 9.995
"""Fractions from this on are ratios, not percentages."""


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
    """A ratio to three digits, below 0.1 to two: `0.45x`, `12.5x`, `1,204x`, `0.0031x`, `0x`."""
    if ratio == 0:
        return f"0{unit}"
    if 0 < ratio < _LEAST_RATIO:
        return f"{ratio:.{1 - math.floor(math.log10(ratio))}f}{unit}"
    return f"{_three_digits(ratio)}{unit}"


def format_intensity(flops_per_byte: float) -> str:
    """FLOPs for each byte to three digits, without their unit: `0.5`, `12.3`, `2,047`."""
    return format_ratio(flops_per_byte, unit="")


def format_share(part: float, whole: float, digits: int = 1) -> str:
    """A share of a positive whole in percent, with one decimal place or `digits`: `52.9 %`.

    A share that would round to nothing or to all, and is neither, is `< 0.1 %` or `> 99.9 %`;
    one that is barely more than all is `> 100.0 %`.
    """
    shown = f"{100 * part / whole:,.{digits}f}"
    unit = 10.0**-digits
    number = float(shown.replace(",", ""))
    if part and number == 0:
        return f"< {unit:.{digits}f} %" if part > 0 else f"> −{unit:.{digits}f} %"
    if number == 100 and part != whole:
        return f"> {100 - unit if part < whole else 100:.{digits}f} %"
    return f"{shown} %".replace("-", "−")


def format_percent(part: float) -> str:
    """A fraction in percent to two digits: `0.8 %`, `12 %`, `150 %`; `18.4x` from 1,000 % on.

    One that would round to nothing is `< 0.1 %`.
    """
    if part >= _MOST_PERCENT:
        return format_ratio(part)
    if part and abs(100 * part) < 0.05:
        return format_share(part, 1)
    percent = f"{100 * part:.1f}" if abs(100 * part) < 9.95 else f"{100 * part:,.0f}"
    return f"{percent} %".replace("-", "−")


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: `1 layer`, `12 layers`, `2 processes`.

    Args:
        count: how many.
        noun: of one.
        plural: of several; empty for `noun` and an s.
    """
    return f"{format_count(count)} {noun if count == 1 else plural or noun + 's'}"


def format_tokens(count: int) -> str:
    """A length: `1 token`, `4,096 tokens`."""
    return counted(count, "token")


def format_count(count: int) -> str:
    """All digits of an integer, with thousands separators: `10,000,000`."""
    return f"{count:,}"


def format_about(value: float, spread: float) -> str:
    """A number rounded to half its spread: `763.2` with a spread of 157 is `760`.

    No coarser than to its first digit, so that a number above 0.5 is never 0.
    """
    digits = math.floor(math.log10(max(1.0, min(spread / 2, abs(value)))))
    return format_count(round(value / 10**digits) * 10**digits)
