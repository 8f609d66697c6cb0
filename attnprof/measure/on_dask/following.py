"""Workers that tell which case they begin, and that can be stopped from another thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from attnprof.core.workload import Case, Workload
from attnprof.isolation.fork_server import ForkServer
from attnprof.isolation.forked_worker import ForkedWorker
from attnprof.isolation.outcome import Outcome
from attnprof.measure import worker_tasks
from attnprof.measure.on_dask.messages import IN_ROUNDS

_TIMED_TASKS = (worker_tasks.build, worker_tasks.timed)


class Stopped(BaseException):
    """Nobody waits for the result; not an `Exception`, so that it does not become a row."""


@dataclass(slots=True)
class Follower:
    """Follows the measurements of one group.

    Attributes:
        cases: of the group.
        announce: called with the number of the case that begins, or `IN_ROUNDS`, and whether it
            is timed.
        is_careful: whether each call of the timed rounds is announced, not only the first of each
            case.
        is_timing: whether the timed rounds have begun.
        current: what was announced last.
        called: the numbers of the cases that were timed at least once.
    """

    cases: Sequence[Case]
    announce: Callable[[int, bool], None]
    is_careful: bool
    is_timing: bool = False
    current: tuple[int, bool] | None = None
    called: set[int] = field(default_factory=set[int])

    def before(self, function: Callable[..., Any], args: Sequence[Any]) -> None:
        """A worker process is going to call a function."""
        index = self._case_of(args)
        if index is None:
            return
        if function in _TIMED_TASKS:
            self.is_timing = True
            if function is worker_tasks.timed and not self.is_careful:
                index = IN_ROUNDS if index in self.called else index
                self.called.add(index)
        if (index, self.is_timing) != self.current:
            self.current = (index, self.is_timing)
            self.announce(index, self.is_timing)

    def _case_of(self, args: Sequence[Any]) -> int | None:
        """The number of the case among the arguments, given as such or as kernel and workload."""
        names = [value for value in args if isinstance(value, str)]
        for value in args:
            if isinstance(value, Case):
                return self._index(lambda case, value=value: case == value)
            if isinstance(value, Workload):
                return self._index(
                    lambda case, value=value: case.workload == value and case.kernel in names
                )
        return self._index(lambda case: case.kernel in names)

    def _index(self, is_meant: Callable[[Case], bool]) -> int | None:
        return next((index for index, case in enumerate(self.cases) if is_meant(case)), None)


class FollowedWorkers:
    """Forks of a server that tell a follower what they are going to call.

    Args:
        server: makes the processes.
    """

    def __init__(self, server: ForkServer) -> None:
        self._server = server
        self._is_stopped = False
        self.follower: Follower | None = None

    def worker(self) -> FollowedWorker:
        """A new worker process.

        Raises:
            Stopped: if nobody waits for the result any more.
        """
        self.check()
        return FollowedWorker(self._server.worker(), self)

    def run(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        """Call a function in a new worker; see `ForkedWorker.call`."""
        worker = self.worker()
        try:
            return worker.call(function, *args, max_seconds=max_seconds)
        finally:
            worker.close()

    def preload(self, modules: Sequence[str]) -> None:
        """Import modules for all later workers."""
        self._server.preload(modules)

    def stop(self) -> None:
        """End all processes; a call that waits for one raises `Stopped`."""
        self._is_stopped = True
        self._server.close()

    def check(self) -> None:
        """Whether someone waits for the result.

        Raises:
            Stopped: if not.
        """
        if self._is_stopped:
            raise Stopped


class FollowedWorker:
    """One worker process that announces its calls."""

    def __init__(self, worker: ForkedWorker, owner: FollowedWorkers) -> None:
        self._worker = worker
        self._owner = owner

    def call(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        """Call a function; see `ForkedWorker.call`.

        Raises:
            Stopped: if nobody waits for the result any more.
        """
        self._owner.check()
        if self._owner.follower is not None:
            self._owner.follower.before(function, args)
        outcome = self._worker.call(function, *args, max_seconds=max_seconds)
        self._owner.check()
        return outcome

    def close(self) -> None:
        """End the process, with all processes that its functions have started."""
        self._worker.close()
