"""Runs functions in worker processes, so that a crash or a patch in one does not affect the next.

A server process imports the modules that all workers need and forks itself for each worker, so
imports are paid for once. It is a new interpreter, not a fork of the caller, so the caller's
threads and patches are not inherited. All processes end with the caller, however that ends.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from attnprof.core.errors import AttnprofError
from attnprof.isolation.forked_worker import ForkedWorker
from attnprof.isolation.outcome import Outcome
from attnprof.isolation.server_process import SERVE, receive, send
from attnprof.isolation.system_memory import available_bytes

_STDERR = 2
"""The file descriptor; `sys.stderr` may have been redirected."""


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
