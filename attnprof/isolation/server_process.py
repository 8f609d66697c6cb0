"""The process that imports once and forks itself for each worker of a `ForkServer`."""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import pickle
import signal
import socket
import struct
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from attnprof.isolation.outcome import failure_outcome, run_captured
from attnprof.isolation.system_memory import limit_bytes

SERVE = (
    "import sys; from attnprof.isolation.server_process import serve;"
    " serve(int(sys.argv[1]), sys.argv[2:])"
)

_LENGTH = struct.Struct("!Q")
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


def send(pipe: socket.socket, content: bytes) -> None:
    """A message, behind its length."""
    pipe.sendall(_LENGTH.pack(len(content)) + content)


def receive(pipe: socket.socket) -> bytes:
    """The next message.

    Raises:
        EOFError: when the other end closes before it is whole.
    """
    return _exactly(pipe, _LENGTH.unpack(_exactly(pipe, _LENGTH.size))[0])


def _exactly(pipe: socket.socket, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = pipe.recv(min(count, 2**20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def serve(descriptor: int, modules: Sequence[str]) -> None:
    """Import, then fork for each worker that is asked for, until the caller has ended.

    Requests are `f` with the worker's end of its pipe, answered by its process; `w` with a
    process, answered by how it ended; and `i` with further modules to import.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    _import(modules)
    children: set[int] = set()
    with socket.socket(fileno=descriptor) as control:
        try:
            while True:
                request, descriptors, _, _ = socket.recv_fds(control, 1, 1)
                if not request:
                    return
                given = pickle.loads(receive(control))
                if request == b"f":
                    pid = _fork(socket.socket(fileno=descriptors[0]), control, libc, *given)
                    children.add(pid)
                    send(control, pickle.dumps(pid))
                elif request == b"i":
                    _import(given)
                    send(control, pickle.dumps(0))
                else:
                    children.discard(given)
                    send(control, pickle.dumps(os.waitpid(given, 0)[1]))
        except (OSError, EOFError):
            return
        finally:
            for child in children:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(child, signal.SIGKILL)


def _import(modules: Sequence[str]) -> None:
    """Import without garbage collection, which takes a sixth of it and finds nothing to free."""
    gc.disable()
    for module in modules:
        with suppress(Exception):  # what fails here fails again in the worker that needs it
            importlib.import_module(module)
    gc.freeze()  # nor do workers look through it
    gc.enable()


def _fork(
    pipe: socket.socket,
    control: socket.socket,
    libc: ctypes.CDLL | None,
    folder: str,
    search_path: list[str],
    limit: int | None,
) -> int:
    parent = os.getpid()
    child = os.fork()
    if child:
        # Before the answer: whoever hears of the process may kill all that it starts.
        with suppress(OSError):
            os.setpgid(child, child)
        pipe.close()
        return child
    try:
        with suppress(OSError):
            os.setpgid(0, 0)
        if libc is not None:
            libc.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() == parent:
            control.close()
            with suppress(OSError):
                os.chdir(folder)
            sys.path[:] = search_path
            if limit is not None:
                limit_bytes(limit)
            _work(pipe)
    finally:
        os._exit(0)
    return 0


def _work(pipe: socket.socket) -> None:
    """Run each function that comes in, until the pipe closes."""
    while True:
        try:
            request = receive(pipe)
        except (OSError, EOFError):
            return
        try:
            function, args = pickle.loads(request)
            outcome = run_captured(function, *args)
            answer = pickle.dumps(outcome)
        except BaseException as error:  # that of the user's code ends the function, not the worker
            answer = pickle.dumps(replace(failure_outcome(error), error=None))
        send(pipe, answer)


def installed_modules() -> list[str]:
    """What this process has imported of the packages that are installed, in that order."""
    folders = tuple(
        f"{folder}{os.sep}"
        for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    )
    return [
        name
        for name, module in list(sys.modules.items())
        if str(getattr(module, "__file__", None) or "").startswith(folders)
    ]
