"""Costs before and now as cells of a table, the same in all formats."""

from __future__ import annotations

from attnprof.guard.checking import Check
from attnprof.guard.quantities import format_change, show
from attnprof.guard.verdicts import Breach


def step_cells(breach: Breach) -> list[tuple[str, str, str, str]]:
    """Tokens, was, now and change of each length that is past a term."""
    assert breach.quantity is not None or not breach.steps
    return [
        (
            f"{step.seq_len:,} tokens",
            show(breach.quantity or "macs", step.was),
            show(breach.quantity or "macs", step.now),
            format_change(step.was, step.now),
        )
        for step in breach.steps
    ]


def headline(breach: Breach) -> str:
    """The sentence, with what is allowed."""
    return breach.says + f" (allowed: {breach.allowed})" * bool(breach.allowed)


def summary(check: Check) -> str:
    """How many contracts came to what."""
    words = {
        "broken": "broken",
        "misconfigured": "misconfigured",
        "failed": "not measured",
        "undecided": "undecided",
        "kept": "kept",
    }
    counts = {
        word: sum(result.status == status for result in check.results)
        for status, word in words.items()
    }
    said = [f"{count} {word}" for word, count in counts.items() if count]
    return f"{len(check.results)} contract{'s' * (len(check.results) != 1)}: " + ", ".join(said)
