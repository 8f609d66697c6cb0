"""What all formats of a diff share: tables of costs at both revisions, headline and summary."""

from __future__ import annotations

from collections.abc import Iterator

from attnprof.core.units import counted, format_tokens
from attnprof.guard.contract import QUANTITIES, Quantity
from attnprof.guard.diff import Diff, Difference
from attnprof.guard.formatting import format_change, show

WORDS = {
    "broken": "broken",
    "misconfigured": "misconfigured",
    "failed": "not measured",
    "undecided": "undecided",
    "changed": "changed",
    "new": "new",
    "removed": "removed",
    "unchanged": "unchanged",
}
"""Verdicts as reports name them, in the order of a summary."""

HEADINGS = ("tokens", "MACs", "parameters", "peak bytes")


def title(diff: Diff) -> str:
    """The two revisions: `main (1a2b3c4) → working tree`."""
    return f"{diff.base} → {diff.head}"


def summary(diff: Diff) -> str:
    """The number of contracts with each verdict: `2 contracts: 1 broken, 1 unchanged`."""
    words = [each.word for each in diff.differences]
    counts = ", ".join(
        f"{words.count(word)} {name}" for word, name in WORDS.items() if word in words
    )
    total = counted(len(words), "contract" if diff.has_contracts else "target")
    return f"{total}: {counts}"


def cost_rows(difference: Difference) -> Iterator[tuple[str, str, str, str]]:
    """Length, MACs, parameters and peak bytes at each length, as `HEADINGS` names them."""
    lengths = sorted({*difference.base, *difference.head})
    for seq_len in lengths:
        macs, params, peak_bytes = (
            _change(difference, quantity, seq_len) for quantity in QUANTITIES
        )
        yield format_tokens(seq_len).removesuffix(" tokens"), macs, params, peak_bytes


def _change(difference: Difference, quantity: Quantity, seq_len: int) -> str:
    """One cost: `1.914 GMac`, or `1.914 GMac → 2.015 GMac  +5.3 %`."""
    before, after = difference.base.get(seq_len), difference.head.get(seq_len)
    if before is None or after is None:
        known = before or after
        return "" if known is None else show(quantity, getattr(known, quantity))
    was, now = getattr(before, quantity), getattr(after, quantity)
    if was == now:
        return show(quantity, now)
    return f"{show(quantity, was)} → {show(quantity, now)}  {format_change(was, now)}"
