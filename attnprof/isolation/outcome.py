"""What becomes of a function: its value, or how it failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from attnprof.core.errors import (
    AttnprofError,
    FailedError,
    code_under_test,
    describe_error,
    is_out_of_memory,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a function.

    Attributes:
        value: what it returned; None where it did not.
        failure: how it ended, empty where it returned: `TypeError: …`, `killed by SIGSEGV`.
        status: of the failure, as a row has it.
        error: what it raised, where that is one of attnprof's own errors.
        is_lost: whether its process ended with it.
        busy_ns: how long it ran, where it came to an end.
    """

    value: Any = None
    failure: str = ""
    status: Literal["ok", "oom", "timeout", "error"] = "ok"
    error: AttnprofError | None = None
    worker_died: bool = False
    busy_ns: int = 0

    @property
    def result(self) -> Any:
        """What it returned.

        Raises:
            AttnprofError: what it raised, or a `FailedError` in the words of `failure`.
        """
        if self.status == "ok":
            return self.value
        raise self.error or FailedError(self.failure, self.status)


def run_captured(function: Callable[..., Any], *args: Any) -> Outcome:
    """What becomes of a function in this process."""
    begun_ns = time.perf_counter_ns()
    try:
        with code_under_test():
            value = function(*args)
        return Outcome(value, busy_ns=time.perf_counter_ns() - begun_ns)
    except Exception as error:
        return failure_outcome(error)


def failure_outcome(error: BaseException) -> Outcome:
    """The outcome of a function that raised this."""
    return Outcome(
        failure=describe_error(error),
        status="oom" if is_out_of_memory(error) else "error",
        error=error if isinstance(error, AttnprofError) else None,
    )
