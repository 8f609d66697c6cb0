"""What runs functions in workers: processes of their own, or this one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from attnprof.core.errors import MeasurementError
from attnprof.isolation.fork_server import ForkServer
from attnprof.isolation.outcome import Outcome, run_captured


class Worker(Protocol):
    """Runs functions one after the other in one process, which keeps what they leave."""

    def call(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        """Call a function of a module with what can be pickled; its result can be, too."""
        ...

    def close(self) -> None:
        """End it, with all that its functions have started."""
        ...


class Workers(Protocol):
    """Where workers come from."""

    def worker(self) -> Worker:
        """A new one."""
        ...

    def preload(self, modules: Sequence[str]) -> None:
        """Import for all that come."""
        ...

    def run(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        """Call a function in a worker of its own."""
        ...


class InProcessWorkers:
    """Workers that are none: functions run here, and take this process along when they break it."""

    def worker(self) -> InProcessWorkers:
        """This process."""
        return self

    def run(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        """Call a function."""
        return run_captured(function, *args)

    call = run

    def preload(self, modules: Sequence[str]) -> None:
        """What is imported here stays so."""

    def close(self) -> None:
        """Nothing has been started."""


@contextmanager
def open_workers(
    modules: Sequence[str],
    variables: Mapping[str, str] | None = None,
    *,
    is_limited: bool = False,
    is_heard: bool = False,
    hint: str = "add --no-isolation to do without",
) -> Generator[ForkServer]:
    """Forks of a process that has imported modules; they end with the context.

    Args:
        modules: what that process imports.
        variables: of its environment, beside those of this process.
        is_limited: whether a worker may take no more memory than is free when it begins.
        is_heard: whether what workers print goes to stderr.
        hint: what helps where there is no `fork`.

    Raises:
        MeasurementError: where there is no `fork`.
    """
    try:
        server = ForkServer(modules, variables, is_limited=is_limited, is_heard=is_heard)
    except OSError as error:
        raise MeasurementError("; ".join(filter(None, [str(error), hint]))) from error
    with server:
        yield server
