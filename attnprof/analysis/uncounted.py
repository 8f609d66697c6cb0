"""Cases that could not be counted, each with the reason: for JSON and for messages."""

from __future__ import annotations

from collections.abc import Iterable

from attnprof.core.workload import Case

Uncounted = tuple[Case, str]
"""A case, and why it could not be counted."""


def uncounted_records(cases: Iterable[Uncounted]) -> list[dict[str, object]]:
    """The cases as JSON objects: kernel, seq_len, reason."""
    return [
        {"kernel": case.kernel, "seq_len": case.workload.seq_len, "reason": reason}
        for case, reason in cases
    ]


def uncounted_messages(cases: Iterable[Uncounted]) -> list[str]:
    """One line for each case: `kernel at 1,024: reason`."""
    return [f"{case.kernel} at {case.workload.seq_len:,}: {reason}" for case, reason in cases]
