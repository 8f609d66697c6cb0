"""`Outcome`: the value of a function call, or how it failed."""

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
    """The outcome of a function call.

    Attributes:
        value: what it returned; None if it failed.
        failure: how it failed, such as `TypeError: …` or `killed by SIGSEGV`; empty if it returned.
        status: the status of a row with this outcome.
        error: the exception, if it is an `AttnprofError`.
        worker_died: whether its process ended during the call.
        busy_ns: its duration in nanoseconds; 0 if it failed.
    """

    value: Any = None
    failure: str = ""
    status: Literal["ok", "oom", "timeout", "error"] = "ok"
    error: AttnprofError | None = None
    worker_died: bool = False
    busy_ns: int = 0

    @property
    def result(self) -> Any:
        """The value that the function returned.

        Raises:
            AttnprofError: if it failed: its own exception, or a `FailedError` with `failure`.
        """
        if self.status == "ok":
            return self.value
        raise self.error or FailedError(self.failure, self.status)


def run_captured(function: Callable[..., Any], *args: Any) -> Outcome:
    """Call a function in this process. Its stdout goes to stderr."""
    start_ns = time.perf_counter_ns()
    try:
        with code_under_test():
            value = function(*args)
        return Outcome(value, busy_ns=time.perf_counter_ns() - start_ns)
    except Exception as error:
        return failure_outcome(error)


def failure_outcome(error: BaseException) -> Outcome:
    """The outcome of a function that raised this."""
    return Outcome(
        failure=describe_error(error),
        status="oom" if is_out_of_memory(error) else "error",
        error=error if isinstance(error, AttnprofError) else None,
    )
