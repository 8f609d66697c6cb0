"""The interface of workers, workers that run functions in this process, and `open_workers`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from attnprof.core.errors import MeasurementError
from attnprof.isolation.fork_server import ForkServer
from attnprof.isolation.outcome import Outcome, run_captured


class Worker(Protocol):
    """Runs functions one after the other in one process, which keeps the state they leave."""

    def call(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        """Call a function and wait for its outcome.

        Args:
            function: a function that can be pickled, that is one of a module.
            args: its arguments, which can be pickled, as can its result.
            max_seconds: timeout.
        """
        ...

    def close(self) -> None:
        """End the process, with all processes that its functions have started."""
        ...


class Workers(Protocol):
    """Creates workers."""

    def worker(self) -> Worker:
        """A new worker."""
        ...

    def preload(self, modules: Sequence[str]) -> None:
        """Import modules for all later workers."""
        ...

    def run(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        """Call a function in a new worker; see `Worker.call`."""
        ...


class InProcessWorkers:
    """A stand-in that runs functions in this process: a crash ends it, and there is no timeout."""

    def worker(self) -> InProcessWorkers:
        """This object."""
        return self

    def run(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        """Call a function in this process; `max_seconds` is ignored."""
        return run_captured(function, *args)

    call = run

    def preload(self, modules: Sequence[str]) -> None:
        """Does nothing: this process imports modules when it needs them."""

    def close(self) -> None:
        """Does nothing: there is no process to end."""


@contextmanager
def open_workers(
    modules: Sequence[str],
    variables: Mapping[str, str] | None = None,
    *,
    is_limited: bool = False,
    shows_output: bool = False,
    hint: str = "add --no-isolation to run without them",
) -> Generator[ForkServer]:
    """A `ForkServer` whose processes end with the context.

    Args:
        modules: what the server process imports.
        variables: its environment variables, in addition to those of this process.
        is_limited: whether a worker may allocate no more memory than is free when it begins.
        shows_output: whether output of workers goes to stderr; otherwise it is discarded.
        hint: the remedy in the message of the error.

    Raises:
        MeasurementError: if the system has no `fork`.
    """
    try:
        server = ForkServer(modules, variables, is_limited=is_limited, shows_output=shows_output)
    except OSError as error:
        raise MeasurementError("; ".join(filter(None, [str(error), hint]))) from error
    with server:
        yield server
