"""What changed between a locked entry and measured costs: lines to read, and the largest parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from attnprof.core.units import counted, format_tokens
from attnprof.guard.contract import GROWING, QUANTITIES, PartKind, Quantity
from attnprof.guard.formatting import NAMES, format_change, show
from attnprof.guard.lockfile import Entry
from attnprof.guard.measurement import ContractCosts
from attnprof.guard.parts import Parts, fold_most_first

MAX_PARTS = 4
"""Parts that a message names; it gives the number of the others."""


def differences_of(before: Entry | None, after: Entry) -> list[str]:
    """A line for each difference between a contract's old and new entry; none if they are equal."""
    if before is None:
        return _new_entry(after)
    lines = [*_changed_subject(before, after)]
    for quantity in QUANTITIES:
        lines += _changed_costs(quantity, before, after)
        lines += _changed_growth(quantity, before, after)
    if before.uncounted != after.uncounted:
        lines += _without_formula(after) or ["every operator has a MAC formula now"]
    if not lines and (before.macs, before.bytes) != (after.macs, after.bytes):
        return ["same costs, from other modules or operators"]
    if not lines and before.versions != after.versions:
        return ["same costs, measured with other versions"]
    return lines


def _new_entry(entry: Entry) -> list[str]:
    laws = ", ".join(f"{NAMES[name]} {entry.growth[name] or 'unknown'}" for name in GROWING)
    return [
        f"new: {counted(len(entry.cells), 'length')}, {laws}",
        *_without_formula(entry),
    ]


def _changed_subject(before: Entry, after: Entry) -> Iterator[str]:
    for key in sorted({*before.subject, *after.subject}):
        if before.subject.get(key) != after.subject.get(key):
            yield f"{key}: {before.subject.get(key)} → {after.subject.get(key)}"


def _changed_costs(quantity: Quantity, before: Entry, after: Entry) -> Iterator[str]:
    for length, cell in after.cells.items():
        if length not in before.cells:
            continue
        was, now = getattr(before.cells[length], quantity), getattr(cell, quantity)
        if was != now:
            yield (
                f"{NAMES[quantity]} at {format_tokens(int(length))}: {show(quantity, was)} → "
                f"{show(quantity, now)}  {format_change(was, now)}"
            )


def _changed_growth(quantity: Quantity, before: Entry, after: Entry) -> Iterator[str]:
    was, now = before.growth.get(quantity), after.growth.get(quantity)
    if was != now:
        yield f"growth of {NAMES[quantity]}: {was or 'unknown'} → {now or 'unknown'}"


def _without_formula(entry: Entry) -> list[str]:
    """A line that names the operators whose MACs are not counted; none where all are."""
    if not entry.uncounted:
        return []
    names = ", ".join(f"{name} ({calls})" for name, calls in sorted(entry.uncounted.items()))
    return [
        (
            f"no MAC formula for {names}: not included in the MACs; register one in the target's "
            f"module with attnprof.register_mac_formula"
        )
    ]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What measured costs are compared with, in the words of messages.

    Attributes:
        adverb: as in `as locked`.
        place: as in `linear in the lock`.
        owner: as in `the locked MACs`.
    """

    adverb: str
    place: str
    owner: str


LOCK = Baseline("locked", "in the lock", "the locked")
BASE = Baseline("at the base", "at the base", "the base's")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The earlier and the measured parts of a contract.

    Attributes:
        entry: the contract's entry in the lock, or its costs at the base; None if it has none.
        measured: what was measured.
        baseline: where the entry comes from.
    """

    entry: Entry | None
    measured: ContractCosts
    baseline: Baseline = LOCK

    def locked(self, kind: PartKind) -> Parts:
        """Parts as locked; empty without an entry."""
        return self.entry.parts(kind) if self.entry is not None else {}

    def current(self, kind: PartKind) -> Parts:
        """Parts as measured, without those that cost nothing."""
        parts: Parts = getattr(self.measured, kind)
        return {part: costs for part, costs in parts.items() if any(costs.values())}

    @property
    def lengths(self) -> list[int]:
        """The measured lengths in tokens, ascending."""
        return sorted(self.measured.cells)


@dataclass(frozen=True, slots=True)
class Change:
    """One part's cost at one length, as locked and as measured."""

    part: str
    locked: int
    current: int

    @property
    def size(self) -> int:
        """How far the cost moved, either way."""
        return abs(self.current - self.locked)


def most_changed(locked: Parts, current: Parts, seq_len: int) -> list[Change]:
    """Parts whose cost at a length changed, the largest change first."""
    changes = [
        Change(part, locked.get(part, {}).get(seq_len, 0), current.get(part, {}).get(seq_len, 0))
        for part in {*locked, *current}
    ]
    changed = [change for change in changes if change.size]
    return sorted(changed, key=lambda change: (-change.size, change.part))


def describe_changes(kind: PartKind, changes: Sequence[Change]) -> Iterable[str]:
    """Lines for the largest changes, with equal layers in one line."""
    rows = fold_most_first(
        {change.part: (change.locked, change.current) for change in changes},
        lambda row: abs(row[1] - row[0]),
    )
    is_compared = any(change.locked for change in changes)
    for part, (locked, current) in list(rows.items())[:MAX_PARTS]:
        before = f"{show(kind, locked)} → " if is_compared else ""
        yield f"{part or 'the module itself'}: {before}{show(kind, current)}"
    if len(rows) > MAX_PARTS:
        yield f"and {len(rows) - MAX_PARTS} more"
