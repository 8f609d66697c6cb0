"""Which values an axis labels: pure geometry, without Matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Scale = Literal["macs", "bytes", "ns"]
"""The unit of an axis."""

_UNITS: dict[Scale, tuple[int, tuple[str, ...]]] = {
    "macs": (1000, ("", "K", "M", "G", "T", "P", "E")),
    "bytes": (1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB")),
    "ns": (1000, ("ns", "µs", "ms", "s")),
}
"""The base of each unit's prefixes, and the prefixes."""

_MANTISSAS = ((1, 2, 5), (1, 3), (1,))
"""Ticks of one decade, from dense to sparse."""

_STEPS = (1, 2, 5)

_LARGE = 10_000
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

LEAST_RANGE = 8.0
"""A logarithmic axis ends at this multiple of its beginning or beyond: it then has two ticks."""


def spaced(positions: Sequence[float], widths: Sequence[float], gap: float) -> list[int]:
    """The labels to show of those at ascending positions: the ends, and what fits between them.

    Args:
        positions: centres of the labels.
        widths: of the labels.
        gap: the least distance between two labels.

    Returns:
        Indices, ascending. The first and the last label are always among them.
    """
    last = len(positions) - 1
    if last < 1:
        return list(range(len(positions)))

    def edges(index: int) -> tuple[float, float]:
        return positions[index] - widths[index] / 2, positions[index] + widths[index] / 2

    shown = [0]
    for index in range(1, last):
        low, high = edges(index)
        if low >= edges(shown[-1])[1] + gap and high <= edges(last)[0] - gap:
            shown.append(index)
    return [*shown, last]


def log_ticks(low: float, high: float, scale: Scale, most: int) -> list[int]:
    """Round values between the ends of a logarithmic axis, at most `most` of them but two or more.

    Args:
        low: beginning of the axis, above 0.
        high: its end, at least `LEAST_RANGE * low`.
        scale: decides what is round: decimal numbers, or powers of 2 for bytes.
        most: as many labels as have room.
    """
    choices = _binary_ticks(low, high) if scale == "bytes" else _decimal_ticks(low, high)
    fitting = [ticks for ticks in choices if 2 <= len(ticks) <= most]
    # The choices become sparser: the last that has two ticks is the sparsest that will do.
    return fitting[0] if fitting else [ticks for ticks in choices if len(ticks) >= 2][-1]


def fraction_ticks(low: float, high: float, most: int) -> list[float]:
    """As `log_ticks` for numbers without a unit, below 1 too: 0.1, 1, 10."""
    power = min(0, math.floor(math.log10(low)))
    choices = _decimal_ticks(low / 10.0**power, high / 10.0**power)
    fitting = [ticks for ticks in choices if 2 <= len(ticks) <= most]
    chosen = fitting[0] if fitting else [ticks for ticks in choices if len(ticks) >= 2][-1]
    return [tick * 10**power if power >= 0 else tick / 10**-power for tick in chosen]


def _decimal_ticks(low: float, high: float) -> list[list[int]]:
    decades = range(max(0, math.floor(math.log10(low))), math.ceil(math.log10(high)) + 1)
    choices = [(mantissas, 1) for mantissas in _MANTISSAS]
    choices += [((1,), step) for step in range(2, max(3, len(decades)))]
    return [
        [
            mantissa * 10**decade
            for decade in decades
            if decade % step == 0
            for mantissa in mantissas
            if low <= mantissa * 10**decade <= high
        ]
        for mantissas, step in choices
    ]


def _binary_ticks(low: float, high: float) -> list[list[int]]:
    exponents = range(max(0, math.ceil(math.log2(low))), math.floor(math.log2(high)) + 1)
    return [
        [2**exponent for exponent in exponents if exponent % step == 0]
        for step in range(1, max(2, len(exponents)))
    ]


def linear_ticks(high: float, scale: Scale, most: int) -> list[float]:
    """Round values from 0 to the end of a linear axis, at most `most` but two or more."""
    unit, _ = _unit_of(high, scale)
    exponent = math.floor(math.log10(high / unit)) - 1
    steps = (step * 10.0**power for power in range(exponent, exponent + 3) for step in _STEPS)
    step = next(step for step in steps if high / unit / step < most)
    step = step if step * unit <= high else high / unit
    return [index * step * unit for index in range(math.floor(high / unit / step + 1e-9) + 1)]


def tick_label(value: float, scale: Scale) -> str:
    """A tick in its unit, without trailing zeros: `500 M`, `64 MiB`, `0`."""
    if value == 0:
        return "0"
    unit, name = _unit_of(value, scale)
    return f"{_digits(value / unit)} {name}".rstrip()


def _digits(number: float) -> str:
    """A round number in few letters: `20`, `1,000`, `2·10⁵`."""
    if number < 100:
        return f"{number:.3g}"
    if number < _LARGE:
        return f"{number:,.0f}"
    exponent = math.floor(math.log10(number) + 1e-9)
    power = f"10{str(exponent).translate(_SUPERSCRIPTS)}"
    mantissa = f"{number / 10**exponent:.3g}"
    return power if mantissa == "1" else f"{mantissa}·{power}"


def _unit_of(value: float, scale: Scale) -> tuple[int, str]:
    """The largest unit that is not above a value, and its name."""
    base, names = _UNITS[scale]
    step = min(len(names) - 1, max(0, math.floor(math.log(max(value, 1), base) + 1e-9)))
    return base**step, names[step]
