"""Runs functions in processes of their own: what one of them breaks, the next does not see.

One process imports what all of them need and forks itself for each: imports are paid once. It is
a fresh interpreter, not a fork of the caller, whose threads and patches stay its own. All of them
end with the caller, however that ends.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from attnprof.core.errors import AttnprofError
from attnprof.isolation.outcome import Outcome
from attnprof.isolation.server_process import SERVE, receive, send
from attnprof.isolation.system_memory import available_bytes, count_kills

_STDERR = 2
"""The descriptor; `sys.stderr` may be something else."""

_PATIENCE_SECONDS = 5.0


class ForkServer:
    """Makes workers, each a fork of a process that has imported modules.

    Args:
        modules: what that process imports, once a first worker is asked for.
        variables: of its environment, beside those of this process.
        is_limited: whether a worker may take no more memory than is free when it begins: an
            allocation beyond that fails, where the system would kill.
        is_heard: whether what workers print goes to stderr; it is dropped else.

    Raises:
        OSError: where there is no `fork`.
    """

    def __init__(
        self,
        modules: Sequence[str],
        variables: Mapping[str, str] | None = None,
        *,
        is_limited: bool = False,
        is_heard: bool = False,
    ) -> None:
        if not hasattr(os, "fork"):
            raise OSError("processes of their own need fork, which this system has not")
        self._modules = tuple(modules)
        self._variables = dict(variables or {})
        self.is_limited = is_limited
        self._is_heard = is_heard
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._workers: set[ForkedWorker] = set()
        self._asking = threading.RLock()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, and all its workers."""
        for worker in tuple(self._workers):
            worker.kill()
        self._workers.clear()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._control is not None:
            self._control.close()
        self._control = self._process = None

    def run(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        """Call a function in a worker of its own."""
        worker = self.worker()
        try:
            return worker.call(function, *args, max_seconds=max_seconds)
        finally:
            worker.close()

    def preload(self, modules: Sequence[str]) -> None:
        """Import for all workers to come; those that there are have been told."""
        self._modules += tuple(modules)
        if modules and self._control is not None:
            with suppress(OSError, EOFError):  # it was killed: the next one imports them
                self._request(b"i", tuple(modules))

    def worker(self) -> ForkedWorker:
        """A new fork, in the caller's current folder and with its search path."""
        try:
            return self._fork()
        except (OSError, EOFError):  # it was killed: another can be started
            self.close()
        try:
            return self._fork()
        except (OSError, EOFError) as error:
            self.close()
            raise AttnprofError("no process of its own could be started") from error

    def reap(self, worker: ForkedWorker) -> int:
        """How a worker ended, now at the latest, as `os.waitpid` tells it.

        Raises:
            EOFError: when nobody knows.
        """
        if worker not in self._workers:
            raise EOFError
        self._workers.discard(worker)
        worker.kill()
        return self._request(b"w", worker.pid)

    def _start_server(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair()
            with theirs:
                heard = _STDERR if self._is_heard else subprocess.DEVNULL
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", SERVE, str(theirs.fileno()), *self._modules],
                    stdin=subprocess.DEVNULL,
                    stdout=heard,
                    stderr=heard,
                    pass_fds=[theirs.fileno()],
                    env=os.environ | self._variables,
                    start_new_session=True,  # what a terminal interrupts is the caller alone
                )
        return self._control

    def _fork(self) -> ForkedWorker:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                here = os.getcwd()  # noqa: PTH109
                limit = available_bytes("cpu") if self.is_limited else None
                with self._asking:
                    pid = self._request(b"f", (here, sys.path, limit), [theirs.fileno()])
                    worker = ForkedWorker(self, pid, ours)
                    self._workers.add(worker)
        except BaseException:
            ours.close()
            raise
        return worker

    def _request(self, request: bytes, given: object, descriptors: Sequence[int] = ()) -> int:
        with self._asking:  # several threads may each have a worker
            control = self._start_server()
            try:
                socket.send_fds(control, [request], list(descriptors))
                send(control, pickle.dumps(given))
                return pickle.loads(receive(control))
            except BaseException:  # whoever is interrupted here has not read the answer
                self.close()
                raise


class ForkedWorker:
    """One fork of a `ForkServer`."""

    def __init__(self, server: ForkServer, pid: int, pipe: socket.socket) -> None:
        self._server = server
        self.pid = pid
        self._pipe = pipe
        self._kills_before = count_kills()
        # Tells of the end of a process even where one that it has started holds its pipe.
        self._end: int | None = None
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):
                self._end = os.pidfd_open(pid)
        self._is_closed = False

    def call(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        """Call a function; when its time is over, its process is killed with all it started."""
        if self._is_closed:
            raise ValueError("the worker has been closed")
        deadline = time.monotonic() + max_seconds
        try:
            send(self._pipe, pickle.dumps((function, args)))
            answer = self._answer(deadline)
        except (OSError, EOFError):
            return self._describe_death()
        except BaseException:
            self.close()
            raise
        if answer is None:
            self.close()
            failure = f"took more than {max_seconds:g} s"
            return Outcome(failure=failure, status="timeout", worker_died=True)
        return pickle.loads(answer)

    def close(self) -> None:
        """End it, with all that its functions have started."""
        self._ended()

    def kill(self) -> None:
        """Have it end, and do not wait for that."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _ended(self) -> int:
        """How it ended, now at the latest; -1 where nobody knows."""
        if self._is_closed:
            return -1
        self._is_closed = True
        try:
            return self._server.reap(self)
        except (OSError, EOFError):
            return -1
        finally:
            self._pipe.close()
            if self._end is not None:
                os.close(self._end)

    def _answer(self, deadline: float) -> bytes | None:
        """What comes back; None if it has not by the deadline."""
        ends = [self._pipe, *([] if self._end is None else [self._end])]
        ready, _, _ = select.select(ends, [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        if self._pipe not in ready:
            raise EOFError
        self._pipe.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            return receive(self._pipe)
        except TimeoutError:
            return None
        finally:
            self._pipe.settimeout(None)

    def _describe_death(self) -> Outcome:
        """The outcome of a function whose process has ended."""
        if self._end is not None and not select.select([self._end], [], [], _PATIENCE_SECONDS)[0]:
            self.close()
            return Outcome(failure="closed its pipe", status="error", worker_died=True)
        status = self._ended()
        if status < 0:
            return Outcome(failure="its process was lost", status="error", worker_died=True)
        if not os.WIFSIGNALED(status):
            failure = f"ended its process with exit code {os.WEXITSTATUS(status)}"
            return Outcome(failure=failure, status="error", worker_died=True)
        name = signal.Signals(os.WTERMSIG(status)).name
        if name == "SIGKILL" and count_kills() > self._kills_before:
            failure = "killed by the system, whose memory had run out"
            return Outcome(failure=failure, status="oom", worker_died=True)
        return Outcome(failure=f"killed by {name}", status="error", worker_died=True)
