"""Quantities in words and units."""

from __future__ import annotations

from pathlib import Path

from attnprof.core.units import (
    format_bytes,
    format_count,
    format_macs,
    format_percent,
)
from attnprof.guard.contract import (
    PartKind,
    Quantity,
)

NAMES: dict[Quantity, str] = {"macs": "MACs", "params": "parameters", "peak_bytes": "peak bytes"}
KINDS: dict[Quantity, PartKind] = {"macs": "macs", "params": "params", "peak_bytes": "bytes"}
"""Parts that a quantity is made of."""

_LEAST_SHOWN = 0.0005


def show(quantity: Quantity | PartKind, amount: int) -> str:
    """An amount with its unit."""
    if quantity in ("peak_bytes", "bytes"):
        return format_bytes(amount)
    return format_macs(amount) if quantity == "macs" else format_count(amount)


def format_part(was: int, now: int) -> str:
    """A change as a part of what was: `12 %`."""
    if not was:
        return "all of it"
    part = abs(now - was) / was
    return "less than 0.1 %" if 0 < part < _LEAST_SHOWN else format_percent(part)


def format_change(was: int, now: int) -> str:
    """The change with its sign: `+12 %`, `-0.8 %`."""
    if not was:
        return "new"
    text = format_part(was, now).replace("less than ", "<")
    return text if was == now else f"{'+' if now > was else '-'}{text}"


def display_path(path: Path) -> str:
    """A path relative to where one is, where it is below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
