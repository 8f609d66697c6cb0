"""The server process of a `ForkServer`: imports once and forks itself for each worker."""

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
    """Send a message, preceded by its length."""
    pipe.sendall(_LENGTH.pack(len(content)) + content)


def receive(pipe: socket.socket) -> bytes:
    """The next message.

    Raises:
        EOFError: if the other end closes before the message is complete.
    """
    return _receive_exactly(pipe, _LENGTH.unpack(_receive_exactly(pipe, _LENGTH.size))[0])


def _receive_exactly(pipe: socket.socket, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = pipe.recv(min(count, 2**20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def serve(descriptor: int, modules: Sequence[str]) -> None:
    """Import modules, then fork for each requested worker, until the caller has ended.

    Requests are one byte and a pickled argument: `f` (fork) with a descriptor of the worker's end
    of its pipe, answered by its process id; `w` (wait) with a process id, answered by the exit
    status; and `i` (import) with further modules, answered by 0.

    Args:
        descriptor: of the socket to the caller.
        modules: names of modules to import.
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
                argument = pickle.loads(receive(control))
                if request == b"f":
                    pid = _fork(socket.socket(fileno=descriptors[0]), control, libc, *argument)
                    children.add(pid)
                    send(control, pickle.dumps(pid))
                elif request == b"i":
                    _import(argument)
                    send(control, pickle.dumps(0))
                else:
                    children.discard(argument)
                    send(control, pickle.dumps(os.waitpid(argument, 0)[1]))
        except (OSError, EOFError):
            return
        finally:
            for child in children:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(child, signal.SIGKILL)


def _import(modules: Sequence[str]) -> None:
    """Import without garbage collection, which takes a sixth of the time and frees nothing."""
    gc.disable()
    for module in modules:
        with suppress(Exception):  # it will fail again in the worker that needs it
            importlib.import_module(module)
    gc.freeze()  # so that workers do not scan it
    gc.enable()


def _fork(
    pipe: socket.socket,
    control: socket.socket,
    libc: ctypes.CDLL | None,
    folder: str,
    search_path: list[str],
    limit: int | None,
) -> int:
    """Fork a worker, which runs functions until its pipe closes; its process id.

    Args:
        pipe: the worker's end of its pipe.
        control: the server's socket to the caller, which the worker closes.
        libc: to set the signal that ends the worker with the server; None if not on Linux.
        folder: the worker's current folder.
        search_path: its `sys.path`.
        limit: bytes that it may allocate; None for no limit.
    """
    parent = os.getpid()
    child = os.fork()
    if child:
        # Before the answer is sent: the caller may then kill the process group.
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
        except BaseException as error:  # user code ends the function with it, not the worker
            answer = pickle.dumps(replace(failure_outcome(error), error=None))
        send(pipe, answer)


def installed_modules() -> list[str]:
    """Names of the modules of installed packages that this process has imported, in order."""
    folders = tuple(
        f"{folder}{os.sep}"
        for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    )
    return [
        name
        for name, module in list(sys.modules.items())
        if str(getattr(module, "__file__", None) or "").startswith(folders)
    ]
