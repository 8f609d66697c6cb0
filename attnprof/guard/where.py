"""Which modules and operators a changed cost comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from attnprof.guard.evidence import Parts, fold_most_first
from attnprof.guard.lock import PartKind
from attnprof.guard.quantities import show

MOST = 4
"""Parts that a message names; the others are counted."""


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
