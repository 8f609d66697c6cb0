"""Costs before and now as cells of a table, the same in all formats."""

from __future__ import annotations

from attnprof.guard.check import Check
from attnprof.guard.formatting import format_change, show
from attnprof.guard.results import Breach, Result


def step_cells(breach: Breach) -> list[tuple[str, str, str, str]]:
    """Tokens, was, now and change of each length that is past a term."""
    quantity = breach.quantity
    if quantity is None:
        return []
    is_same = len({(step.was, step.now) for step in breach.steps}) == 1 < len(breach.steps)
    return [
        (
            "each length" if is_same else f"{step.seq_len:,} tokens",
            "at most " * breach.term.startswith("max.") + show(quantity, step.was),
            show(quantity, step.now),
            format_change(step.was, step.now),
        )
        for step in breach.steps[: 1 if is_same else None]
    ]


def mends(result: Result) -> dict[str, list[str]]:
    """What to do about all that is broken, each once: by `to accept` and `to mend`."""
    mends: dict[str, list[str]] = {}
    for breach in result.breaches:
        is_change = breach.quantity is not None and not breach.term.startswith("max.")
        known = mends.setdefault("to accept" if is_change else "to mend", [])
        known += [mend for mend in breach.mend if mend not in known]
    # What is to be written comes before the command.
    for known in mends.values():
        known.sort(key=lambda mend: mend.startswith("attnprof guard"))
    return mends


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
