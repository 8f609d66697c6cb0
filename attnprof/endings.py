"""How a case ends: the record that closes it."""

from __future__ import annotations

from attnprof.errors import FailedError, describe_error, is_out_of_memory
from attnprof.plan import Case
from attnprof.records import CASE, Record, Status


def closed(case: Case, status: Status, detail: str) -> Record:
    """The record that closes a case."""
    return Record(case.kernel, case.workload, CASE, None, status, detail)


def failed(case: Case, error: Exception) -> Record:
    """The record of a case that an error ends, in the words of whoever raised it."""
    status: Status = "oom" if is_out_of_memory(error) else "error"
    if isinstance(error, FailedError):
        status = error.status
    detail = describe_error(error)
    return closed(case, status, f"ran out of memory: {detail}" if status == "oom" else detail)


def empty(case: Case, quantity: str, reason: str) -> Record:
    """The record of a quantity that could not be had."""
    detail = f"{quantity} is empty: {reason}"
    return Record(case.kernel, case.workload, quantity, None, "error", detail)
