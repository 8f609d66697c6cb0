"""What all formats of a check share: table cells, remedies, headline and summary."""

from __future__ import annotations

from attnprof.core.units import format_tokens
from attnprof.guard.check import Check
from attnprof.guard.formatting import format_change, show
from attnprof.guard.results import Breach, Result

STATUS_WORDS = {
    "broken": "broken",
    "misconfigured": "misconfigured",
    "failed": "not measured",
    "undecided": "undecided",
    "kept": "kept",
}
"""Statuses as text reports name them, in the order of a summary."""


def step_cells(breach: Breach) -> list[tuple[str, str, str, str]]:
    """Length, cost before, cost now and change at each length that breaks a term.

    Equal costs at several lengths are one row, `each length`.
    """
    quantity = breach.quantity
    if quantity is None:
        return []
    limit = "at most " if breach.term.startswith("max.") else ""
    is_same = len({(step.was, step.now) for step in breach.steps}) == 1 < len(breach.steps)
    return [
        (
            "each length" if is_same else format_tokens(step.seq_len),
            f"{limit}{show(quantity, step.was)}",
            show(quantity, step.now),
            format_change(step.was, step.now),
        )
        for step in breach.steps[: 1 if is_same else None]
    ]


def fixes(result: Result) -> dict[str, list[str]]:
    """Remedies for all breaches, each once, by their label: `to accept` or `to fix`."""
    remedies: dict[str, list[str]] = {}
    for breach in result.breaches:
        is_change = breach.quantity is not None and not breach.term.startswith("max.")
        sentences = remedies.setdefault("to accept" if is_change else "to fix", [])
        sentences += [sentence for sentence in breach.mend if sentence not in sentences]
    # Edits of the contract come before what accepts everything else.
    for sentences in remedies.values():
        sentences.sort(key=lambda sentence: not sentence.startswith("set "))
    return remedies


def headline(breach: Breach) -> str:
    """The breach as a sentence, with what the contract allows."""
    return f"{breach.says} (allowed: {breach.allowed})" if breach.allowed else breach.says


def summary(check: Check) -> str:
    """The number of contracts with each status: `2 contracts: 1 broken, 1 kept`."""
    counts = {
        word: sum(result.status == status for result in check.results)
        for status, word in STATUS_WORDS.items()
    }
    by_status = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    contracts = "contract" if len(check.results) == 1 else "contracts"
    return f"{len(check.results)} {contracts}: {by_status}"
