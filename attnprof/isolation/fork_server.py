"""Runs functions in worker processes, so that a crash or a patch in one does not affect the next.

A server process imports the modules that all workers need and forks itself for each worker, so
imports are paid for once. It is a new interpreter, not a fork of the caller, so the caller's
threads and patches are not inherited. All processes end with the caller, however that ends.
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
"""The file descriptor; `sys.stderr` may have been redirected."""

_EXIT_SECONDS = 5.0
"""How long to wait for a process to end after its pipe was closed."""


class ForkServer:
    """Creates workers, each a fork of a process that has imported modules.

    Args:
        modules: what that process imports when the first worker is requested.
        variables: environment variables of that process, in addition to those of this one.
        is_limited: whether a worker may allocate no more memory than is free when it begins; an
            allocation beyond that fails, instead of the system killing the process.
        shows_output: whether output of workers goes to stderr; otherwise it is discarded.

    Raises:
        OSError: if the system has no `fork`.
    """

    def __init__(
        self,
        modules: Sequence[str],
        variables: Mapping[str, str] | None = None,
        *,
        is_limited: bool = False,
        shows_output: bool = False,
    ) -> None:
        if not hasattr(os, "fork"):
            raise OSError("worker processes need fork, which this system does not have")
        self._modules = tuple(modules)
        self._variables = dict(variables or {})
        self.is_limited = is_limited
        self._shows_output = shows_output
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._workers: set[ForkedWorker] = set()
        self._request_lock = threading.RLock()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server process and all its workers."""
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
        """Call a function in a new worker; see `ForkedWorker.call`."""
        worker = self.worker()
        try:
            return worker.call(function, *args, max_seconds=max_seconds)
        finally:
            worker.close()

    def preload(self, modules: Sequence[str]) -> None:
        """Import modules for all later workers; existing workers are not affected."""
        self._modules += tuple(modules)
        if modules and self._control is not None:
            with suppress(OSError, EOFError):  # the server was killed: the next one imports them
                self._request(b"i", tuple(modules))

    def worker(self) -> ForkedWorker:
        """A new fork, in the caller's current folder and with its search path.

        Raises:
            AttnprofError: if no process can be started.
        """
        try:
            return self._fork()
        except (OSError, EOFError):  # the server was killed: another one can be started
            self.close()
        try:
            return self._fork()
        except (OSError, EOFError) as error:
            self.close()
            raise AttnprofError("could not start a worker process") from error

    def reap(self, worker: ForkedWorker) -> int:
        """The exit status of a worker, as from `os.waitpid`; a worker that still runs is killed.

        Raises:
            EOFError: if it is not known.
        """
        if worker not in self._workers:
            raise EOFError
        self._workers.discard(worker)
        worker.kill()
        return self._request(b"w", worker.pid)

    def _start_server(self) -> socket.socket:
        """The socket to the server process, which is started unless it runs."""
        if self._control is None:
            self._control, server_end = socket.socketpair()
            with server_end:
                output = _STDERR if self._shows_output else subprocess.DEVNULL
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", SERVE, str(server_end.fileno()), *self._modules],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[server_end.fileno()],
                    env=os.environ | self._variables,
                    start_new_session=True,  # Ctrl-C in a terminal interrupts only the caller
                )
        return self._control

    def _fork(self) -> ForkedWorker:
        pipe, worker_end = socket.socketpair()
        try:
            with worker_end:
                folder = os.getcwd()  # noqa: PTH109
                limit = available_bytes("cpu") if self.is_limited else None
                with self._request_lock:
                    pid = self._request(b"f", (folder, sys.path, limit), [worker_end.fileno()])
                    worker = ForkedWorker(self, pid, pipe)
                    self._workers.add(worker)
        except BaseException:
            pipe.close()
            raise
        return worker

    def _request(self, request: bytes, argument: object, descriptors: Sequence[int] = ()) -> int:
        """The server's answer to one of the requests of `server_process.serve`."""
        with self._request_lock:  # several threads may each have a worker
            control = self._start_server()
            try:
                socket.send_fds(control, [request], list(descriptors))
                send(control, pickle.dumps(argument))
                return pickle.loads(receive(control))
            except BaseException:  # after an interrupt, the answer would be left in the socket
                self.close()
                raise


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
