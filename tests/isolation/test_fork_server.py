"""Functions in worker processes: every way to fail is reported, and the next function runs."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from timeouts import PATIENCE_SECONDS

from attnprof.isolation.fork_server import ForkServer

SECONDS = PATIENCE_SECONDS


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    # Functions of this file are pickled with the module name under which pytest has imported it.
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    try:
        with ForkServer(["test_fork_server"]) as server:
            yield server
    finally:
        del os.environ["PYTHONPATH"]


def twice(number: int) -> int:
    print("discarded")
    sys.stderr.write("discarded, too\n")
    return 2 * number


def fail(message: str) -> None:
    raise ValueError(message)


def leave(code: int) -> None:
    os._exit(code)


def be_killed(number: int) -> None:
    os.kill(os.getpid(), number)


def start_child() -> int:
    child = os.fork()
    if child == 0:
        hang()
    return child


def hang() -> None:
    time.sleep(10 * SECONDS)


def patch() -> bool:
    """Whether this function has run in this process before."""
    was_patched = hasattr(os, "attnprof_was_here")
    os.attnprof_was_here = True  # type: ignore[attr-defined]
    return was_patched


def large() -> bytes:
    return b"x" * 2**22


def test_values_are_returned_and_output_is_discarded(
    server: ForkServer, capfd: pytest.CaptureFixture[str]
) -> None:
    assert server.run(twice, 21, max_seconds=SECONDS).value == 42
    assert len(server.run(large, max_seconds=SECONDS).value) == 2**22
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("function", "argument", "failure"),
    [
        (fail, "two\nlines", "ValueError: two lines"),
        (leave, 7, "ended its process with exit code 7"),
        (be_killed, signal.SIGSEGV, "killed by SIGSEGV"),
        (be_killed, signal.SIGKILL, "killed by SIGKILL"),
    ],
)
def test_failures_are_reported_and_the_next_function_runs(
    server: ForkServer, function: object, argument: object, failure: str
) -> None:
    outcome = server.run(function, argument, max_seconds=SECONDS)  # type: ignore[arg-type]
    assert (outcome.value, outcome.failure) == (None, failure)
    assert server.run(twice, 1, max_seconds=SECONDS).value == 2


def test_a_function_that_hangs_is_killed_with_its_children(server: ForkServer) -> None:
    worker = server.worker()
    child = psutil.Process(worker.call(start_child, max_seconds=SECONDS).value)
    outcome = worker.call(hang, max_seconds=0.2)
    assert outcome.failure == "took more than 0.2 s"
    deadline = time.monotonic() + SECONDS
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_patch_in_one_worker_does_not_affect_the_next(server: ForkServer) -> None:
    assert not server.run(patch, max_seconds=SECONDS).value
    assert not server.run(patch, max_seconds=SECONDS).value
    assert not hasattr(os, "attnprof_was_here")


def test_the_server_process_ends_with_its_context() -> None:
    with ForkServer([]) as server:
        server.run(os.getpid, max_seconds=SECONDS)
        pid = server._process.pid
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)


def exit_interpreter() -> None:
    raise SystemExit(3)


def allocate() -> int:
    import numpy as np

    return len(np.ones(2**30, dtype=np.uint8))


def remember(value: int) -> list[int]:
    remembered.append(value)
    return remembered


remembered: list[int] = []


def fork_and_end() -> None:
    """Ends while a child process holds its pipe."""
    if os.fork() == 0:
        time.sleep(600)
    os._exit(5)


def test_a_worker_keeps_the_state_of_its_functions_and_others_do_not(server: ForkServer) -> None:
    worker, other = server.worker(), server.worker()
    try:
        assert worker.call(remember, 1, max_seconds=SECONDS).value == [1]
        assert worker.call(remember, 2, max_seconds=SECONDS).value == [1, 2]
        assert other.call(remember, 3, max_seconds=SECONDS).value == [3]
        outcome = worker.call(exit_interpreter, max_seconds=SECONDS)
        assert (outcome.failure, outcome.status, outcome.worker_died) == (
            "SystemExit: 3",
            "error",
            False,
        )
        assert worker.call(remember, 4, max_seconds=SECONDS).value == [1, 2, 4]
    finally:
        worker.close()
        other.close()
    with pytest.raises(ValueError, match="closed"):
        worker.call(remember, 5, max_seconds=SECONDS)


def test_an_end_is_noticed_though_a_child_holds_the_pipe(server: ForkServer) -> None:
    outcome = server.run(fork_and_end, max_seconds=SECONDS)
    assert outcome.failure == "ended its process with exit code 5"
    assert outcome.worker_died


def test_an_allocation_beyond_the_limit_fails_without_a_kill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("attnprof.isolation.fork_server.available_bytes", lambda device: 2**27)
    with ForkServer(["test_fork_server", "numpy"], is_limited=True) as server:
        worker = server.worker()
        outcome = worker.call(allocate, max_seconds=SECONDS)
        assert (outcome.status, outcome.worker_died) == ("oom", False)
        assert worker.call(twice, 1, max_seconds=SECONDS).value == 2
        server.is_limited = False
        assert server.run(allocate, max_seconds=SECONDS).value == 2**30


def test_a_killed_server_is_replaced(server: ForkServer) -> None:
    process = server._process
    assert process is not None
    process.kill()
    process.wait()
    assert server.run(twice, 4, max_seconds=SECONDS).value == 8


def test_further_modules_are_imported_once_for_all(server: ForkServer) -> None:
    assert not server.run(is_imported, "colorsys", max_seconds=SECONDS).value
    server.preload(["colorsys"])
    assert server.run(is_imported, "colorsys", max_seconds=SECONDS).value


def is_imported(name: str) -> bool:
    return name in sys.modules
