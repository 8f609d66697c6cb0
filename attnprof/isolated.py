"""Runs functions in processes of their own: what one of them breaks, the next does not see.

One process imports what all of them need and forks itself for each: imports are paid once. It is
a fresh interpreter, not a fork of the caller, whose threads and patches stay its own.
"""

from __future__ import annotations

import importlib
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

_LENGTH = struct.Struct("!Q")
_STDOUT, _STDERR = 1, 2
_SERVE = "import sys; from attnprof.isolated import serve; serve(sys.argv[1:])"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a function.

    Attributes:
        value: what it returned; None where it did not.
        failure: how it ended, empty where it returned: `TypeError: …`, `killed by SIGSEGV`.
    """

    value: Any = None
    failure: str = ""


class ForkServer:
    """Runs functions one after the other, each in a fork of a process that has imported modules.

    Args:
        modules: what that process imports.

    Raises:
        OSError: where there is no `fork`.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        if not hasattr(os, "fork"):
            raise OSError("processes of their own need fork, which this system has not")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVE, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        """Call a function of a module with what can be pickled; its result can be, too."""
        job = pickle.dumps((function, args, max_seconds))
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:  # Popen was asked for both
            raise ValueError("no pipes")
        try:
            _write(stdin, job)
            outcome: Outcome = pickle.loads(_read(stdout))
        except (OSError, EOFError):
            return Outcome(failure="its process could not be started")
        return outcome


def serve(modules: Sequence[str]) -> None:
    """Import, then run each job that comes in on stdin, until it closes."""
    jobs, outcomes = sys.stdin.buffer, os.fdopen(os.dup(_STDOUT), "wb")
    # What is printed goes nowhere: results have a stream of their own.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.dup2(nowhere, _STDERR)
    for module in modules:
        with suppress(Exception):  # what fails here fails again in the job that needs it
            importlib.import_module(module)
    while True:
        try:
            job = _read(jobs)
        except EOFError:
            return
        _write(outcomes, pickle.dumps(_forked(job)))


def _forked(job: bytes) -> Outcome:
    """Run a job in a fork, which is killed with all that it started when its time is over."""
    *_, max_seconds = pickle.loads(job)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(readable)
        with os.fdopen(writable, "wb") as pipe:
            pipe.write(pickle.dumps(_outcome(job)))
        os._exit(0)
    os.close(writable)
    try:
        answer = _until(readable, time.monotonic() + max_seconds)
    finally:
        os.close(readable)
    is_late = answer is None
    if is_late:
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if is_late:
        return Outcome(failure=f"took more than {max_seconds:g} s")
    if answer:
        return pickle.loads(answer)
    if os.WIFSIGNALED(status):
        return Outcome(failure=f"killed by {signal.Signals(os.WTERMSIG(status)).name}")
    return Outcome(failure=f"ended its process with exit code {os.WEXITSTATUS(status)}")


def _outcome(job: bytes) -> Outcome:
    function, args, _ = pickle.loads(job)
    try:
        return Outcome(function(*args))
    except Exception as error:
        said = " ".join(str(error).split())
        return Outcome(failure=f"{type(error).__name__}: {said}" if said else type(error).__name__)


def _until(readable: int, deadline: float) -> bytes | None:
    """All that comes until the other end closes; None if it has not by the deadline."""
    parts: list[bytes] = []
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([readable], [], [], left)[0]:
            return None
        part = os.read(readable, 2**16)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _write(stream: IO[bytes], content: bytes) -> None:
    stream.write(_LENGTH.pack(len(content)) + content)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes:
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    return stream.read(_LENGTH.unpack(header)[0])
