"""One worker process: calls functions in it, and describes how it died."""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attnprof.isolation.outcome import Outcome
from attnprof.isolation.server_process import receive, send
from attnprof.isolation.system_memory import count_kills

if TYPE_CHECKING:
    from attnprof.isolation.fork_server import ForkServer

_EXIT_SECONDS = 5.0
"""How long to wait for a process to end after its pipe was closed."""


class ForkedWorker:
    """One fork of a `ForkServer`. It keeps the state that functions leave in it."""

    def __init__(self, server: ForkServer, pid: int, pipe: socket.socket) -> None:
        self._server = server
        self.pid = pid
        self._pipe = pipe
        self._kills_before = count_kills()
        # Readable once the process has ended, even if a child that it started holds its pipe.
        self._pidfd: int | None = None
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):
                self._pidfd = os.pidfd_open(pid)
        self._is_closed = False

    def call(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        """Call a function and wait for its outcome.

        Args:
            function: a function that can be pickled, that is one of a module.
            args: its arguments, which can be pickled.
            max_seconds: timeout; then the process is killed, with all processes it has started.

        Raises:
            ValueError: if the worker has been closed.
        """
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
        """End the process, with all processes that its functions have started."""
        self._exit_status()

    def kill(self) -> None:
        """Kill the process and all processes it has started, without waiting for their end."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _exit_status(self) -> int:
        """End the process; its status as from `os.waitpid`, or -1 if unknown."""
        if self._is_closed:
            return -1
        self._is_closed = True
        try:
            return self._server.reap(self)
        except (OSError, EOFError):
            return -1
        finally:
            self._pipe.close()
            if self._pidfd is not None:
                os.close(self._pidfd)

    def _answer(self, deadline: float) -> bytes | None:
        """The pickled outcome; None if the deadline passes first.

        Raises:
            EOFError: if the process ends first.
        """
        sources = [self._pipe, *([] if self._pidfd is None else [self._pidfd])]
        ready, _, _ = select.select(sources, [], [], max(0.0, deadline - time.monotonic()))
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
        pidfds = [] if self._pidfd is None else [self._pidfd]
        if pidfds and not select.select(pidfds, [], [], _EXIT_SECONDS)[0]:
            self.close()
            return Outcome(failure="closed its pipe", status="error", worker_died=True)
        status = self._exit_status()
        if status < 0:
            return Outcome(failure="its process was lost", status="error", worker_died=True)
        if not os.WIFSIGNALED(status):
            failure = f"ended its process with exit code {os.WEXITSTATUS(status)}"
            return Outcome(failure=failure, status="error", worker_died=True)
        name = signal.Signals(os.WTERMSIG(status)).name
        if name == "SIGKILL" and count_kills() > self._kills_before:
            failure = "killed by the system, which ran out of memory"
            return Outcome(failure=failure, status="oom", worker_died=True)
        return Outcome(failure=f"killed by {name}", status="error", worker_died=True)
