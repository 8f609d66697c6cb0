"""Quantities as text, with their units."""

from __future__ import annotations

from pathlib import Path

from attnprof.core.units import (
    format_bytes,
    format_count,
    format_macs,
    format_percent,
    format_ratio,
)
from attnprof.guard.contract import PartKind, Quantity

NAMES: dict[Quantity, str] = {"macs": "MACs", "params": "parameters", "peak_bytes": "peak bytes"}
KINDS: dict[Quantity, PartKind] = {"macs": "macs", "params": "params", "peak_bytes": "bytes"}
"""The kind of parts that a quantity consists of."""


def show(quantity: Quantity | PartKind, amount: int) -> str:
    """An amount with its unit."""
    if quantity in ("peak_bytes", "bytes"):
        return format_bytes(amount)
    return format_macs(amount) if quantity == "macs" else format_count(amount)


def format_part(before: int, after: int) -> str:
    """The size of a change relative to a positive cost before it: `12 %`, `< 0.1 %`."""
    return format_percent(abs(after - before) / before)


def describe_rise(before: int, after: int) -> str:
    """How far costs rose at most: `by up to 12 %`; from 11x on, `to up to 13.5x`."""
    part = format_part(before, after)
    return f"to up to {format_ratio(after / before)}" if part.endswith("x") else f"by up to {part}"


def format_change(before: int, after: int) -> str:
    """The relative change with its sign: `+12 %`, `-0.8 %`, `< +0.1 %`; from 11x on, the ratio.

    `new` where there was no cost.
    """
    if not before:
        return "new"
    text = format_part(before, after)
    if before == after or text.endswith("x"):
        return text if before == after else format_ratio(after / before)
    sign = "+" if after > before else "-"
    return text.replace("< ", f"< {sign}") if text.startswith("<") else f"{sign}{text}"


def display_path(path: Path) -> str:
    """The path relative to the current folder if it is inside, else as it is."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
