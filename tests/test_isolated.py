"""Functions in processes of their own: whatever becomes of them is told, and the next one runs."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from attnprof.isolated import ForkServer

SECONDS = 20.0


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    # Functions of this file are found by the name under which pytest has imported it.
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    try:
        with ForkServer(["test_isolated"]) as server:
            yield server
    finally:
        del os.environ["PYTHONPATH"]


def twice(number: int) -> int:
    print("not to be seen")
    sys.stderr.write("nor this\n")
    return 2 * number


def fail(message: str) -> None:
    raise ValueError(message)


def leave(code: int) -> None:
    os._exit(code)


def be_killed(number: int) -> None:
    os.kill(os.getpid(), number)


def hang(marker: str) -> None:
    if os.fork() == 0:  # what it starts is to end with it
        Path(marker).write_text(str(os.getpid()))
        time.sleep(600)
    time.sleep(600)


def patch() -> bool:
    """Whether an earlier call in another process was seen here."""
    was_patched = hasattr(os, "attnprof_was_here")
    os.attnprof_was_here = True  # type: ignore[attr-defined]
    return was_patched


def large() -> bytes:
    return b"x" * 2**22


def test_values_come_back(server: ForkServer, capfd: pytest.CaptureFixture[str]) -> None:
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
def test_failures_are_told_and_the_next_runs(
    server: ForkServer, function: object, argument: object, failure: str
) -> None:
    outcome = server.run(function, argument, max_seconds=SECONDS)  # type: ignore[arg-type]
    assert (outcome.value, outcome.failure) == (None, failure)
    assert server.run(twice, 1, max_seconds=SECONDS).value == 2


def test_what_hangs_is_ended_with_all_it_started(server: ForkServer, tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    outcome = server.run(hang, str(marker), max_seconds=1.0)
    assert outcome.failure == "took more than 1 s"
    started = int(marker.read_text())
    deadline = time.monotonic() + SECONDS
    while psutil.pid_exists(started) and time.monotonic() < deadline:
        if psutil.Process(started).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    else:
        assert not psutil.pid_exists(started)


def test_what_one_patches_the_next_does_not_see(server: ForkServer) -> None:
    assert not server.run(patch, max_seconds=SECONDS).value
    assert not server.run(patch, max_seconds=SECONDS).value
    assert not hasattr(os, "attnprof_was_here")


def test_the_process_ends_with_its_block() -> None:
    with ForkServer([]) as server:
        server.run(os.getpid, max_seconds=SECONDS)
        pid = server._process.pid
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
