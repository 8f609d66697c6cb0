"""What an update changes in the lock, for people to read."""

from __future__ import annotations

from attnprof.guard.contract import QUANTITIES
from attnprof.guard.lock import Entry
from attnprof.guard.quantities import NAMES, format_change, show


def differences_of(before: Entry | None, after: Entry) -> list[str]:
    """What an entry was and is, a line for each cost that is another."""
    if before is None:
        laws = ", ".join(
            f"{NAMES[q]} {after.growth[q] or 'unknown'}" for q in ("macs", "peak_bytes")
        )
        return [f"new: {len(after.cells)} lengths, {laws}", *_without_formula(after)]
    lines = [
        f"{key}: {before.subject.get(key)} → {after.subject.get(key)}"
        for key in sorted({*before.subject, *after.subject})
        if before.subject.get(key) != after.subject.get(key)
    ]
    for quantity in QUANTITIES:
        for length, cell in after.cells.items():
            if length not in before.cells:
                continue
            was, now = getattr(before.cells[length], quantity), getattr(cell, quantity)
            if was != now:
                lines.append(
                    f"{NAMES[quantity]} at {int(length):,} tokens: {show(quantity, was)} → "
                    f"{show(quantity, now)}  {format_change(was, now)}"
                )
        was, now = before.growth.get(quantity), after.growth.get(quantity)
        if was != now:
            lines.append(f"{NAMES[quantity]} grow: {was or 'unknown'} → {now or 'unknown'}")
    if before.uncounted != after.uncounted:
        lines += _without_formula(after) or ["all operators have a MAC formula"]
    if not lines and (before.macs, before.bytes) != (after.macs, after.bytes):
        lines.append("the same costs in other parts")
    if not lines and before.versions != after.versions:
        lines.append("the same costs with other versions")
    return lines


def _without_formula(entry: Entry) -> list[str]:
    """A line that names the operators whose MACs are not in the costs; none where all are."""
    if not entry.uncounted:
        return []
    names = ", ".join(f"{name} ({calls})" for name, calls in sorted(entry.uncounted.items()))
    said = f"no MAC formula for {names}: left out of the MACs"
    return [f"{said}; attnprof.register_mac_formula in the target's module gives one"]
