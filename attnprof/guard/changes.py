"""What an update changes in the lock, for people to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from attnprof.guard.contract import QUANTITIES, PartKind
from attnprof.guard.formatting import NAMES, format_change, show
from attnprof.guard.lockfile import Entry
from attnprof.guard.measurement import Measured
from attnprof.guard.parts import Parts, fold_most_first

MOST = 4
"""Parts that a message names; the others are counted."""


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


@dataclass(frozen=True, slots=True)
class Comparison:
    """The parts that are locked and those that are measured."""

    entry: Entry | None
    measured: Measured

    def locked(self, kind: PartKind) -> Parts:
        """Parts as locked."""
        return self.entry.parts(kind) if self.entry is not None else {}

    def now(self, kind: PartKind) -> Parts:
        """Parts as measured, without those that cost nothing."""
        parts: Parts = getattr(self.measured, kind)
        return {part: costs for part, costs in parts.items() if any(costs.values())}

    @property
    def lengths(self) -> list[int]:
        """That were measured, ascending."""
        return sorted(self.measured.cells)


@dataclass(frozen=True, slots=True)
class Change:
    """One part's cost at one length, before and now."""

    part: str
    was: int
    now: int


def most_changed(was: Parts, now: Parts, seq_len: int) -> list[Change]:
    """Parts whose cost at a length is not what it was, the greatest change first."""
    changes = [
        Change(part, was.get(part, {}).get(seq_len, 0), now.get(part, {}).get(seq_len, 0))
        for part in {*was, *now}
    ]
    changed = [change for change in changes if change.was != change.now]
    return sorted(changed, key=lambda change: (-abs(change.now - change.was), change.part))


def describe_changes(kind: PartKind, changes: Sequence[Change]) -> Iterable[str]:
    """Lines for the greatest changes, layers alike in one."""
    rows = fold_most_first(
        {change.part: (change.was, change.now) for change in changes},
        lambda row: abs(row[1] - row[0]),
    )
    is_compared = any(change.was for change in changes)
    for part, (before, after) in list(rows.items())[:MOST]:
        was = f"{show(kind, before)} → " if is_compared else ""
        yield f"{part or 'the module itself'}: {was}{show(kind, after)}"
    if len(rows) > MOST:
        yield f"and {len(rows) - MOST} more"
