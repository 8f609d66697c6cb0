"""Quantities in words and units."""

from __future__ import annotations

from attnprof.guard.contract import Quantity
from attnprof.guard.lock import PartKind
from attnprof.units import format_bytes, format_count, format_macs, format_percent

NAMES: dict[Quantity, str] = {"macs": "MACs", "params": "parameters", "peak_bytes": "peak bytes"}
KINDS: dict[Quantity, PartKind] = {"macs": "macs", "params": "params", "peak_bytes": "bytes"}
"""Parts that a quantity is made of."""


def show(quantity: Quantity | PartKind, amount: int) -> str:
    """An amount with its unit."""
    if quantity in ("peak_bytes", "bytes"):
        return format_bytes(amount)
    return format_macs(amount) if quantity == "macs" else format_count(amount)


def format_change(was: int, now: int) -> str:
    """`+12 %`, `-0.8 %`, or how many bytes or MACs without what was before."""
    if not was:
        return "all of it"
    change = (now - was) / was
    sign = "+" if change > 0 else "-"
    if 0 < abs(change) < _LEAST_SHOWN:
        return f"{sign}<0.1 %"
    return f"{sign}{format_percent(abs(change))}"


_LEAST_SHOWN = 0.0005
