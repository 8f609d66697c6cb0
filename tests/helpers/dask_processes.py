"""A Dask scheduler and its workers as real processes on the loopback interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from timeouts import PATIENCE_SECONDS

RESOURCE = ("--resources", "attnprof=1")
HELPERS = str(Path(__file__).parent)


class DaskProcesses:
    """One scheduler with workers, started as a user starts them by hand."""

    def __init__(self, folder: Path, security: Sequence[str] = (), protocol: str = "tcp") -> None:
        self.folder = folder
        self._file = folder / "scheduler.json"
        self._security = security
        self._processes: list[subprocess.Popen[bytes]] = []
        where = ("--host", f"{protocol}://127.0.0.1", "--port", "0")
        self.scheduler = self._start("scheduler", *where, "--no-dashboard", *self._place)
        self.address = self._wait_for_address()

    @property
    def _place(self) -> tuple[str, ...]:
        return ("--scheduler-file", str(self._file), *self._security)

    def _start(self, kind: str, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([HELPERS, *filter(None, sys.path)])},
        )
        self._processes.append(process)
        return process

    def worker(self, *words: str) -> subprocess.Popen[bytes]:
        """Start one worker with its nanny."""
        own = ("--nthreads", "1", "--memory-limit", "0", "--no-dashboard")
        return self._start("worker", *own, *words, *self._place)

    def worker_processes(self) -> list[psutil.Process]:
        """The processes that run tasks, which nannies restart."""
        parents = [psutil.Process(one.pid) for one in self._processes[1:] if one.poll() is None]
        return [
            child
            for parent in parents
            for child in parent.children()
            if "multiprocessing.spawn" in " ".join(child.cmdline())
        ]

    def close(self) -> None:
        """End all processes."""
        children: list[psutil.Process] = []
        for process in self._processes:
            if process.poll() is None:
                children += psutil.Process(process.pid).children(recursive=True)
                process.kill()
                process.wait()
        for child in children:
            if child.is_running():
                child.kill()
        psutil.wait_procs(children, timeout=PATIENCE_SECONDS)

    def _wait_for_address(self) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError, ValueError):  # it is not there yet, or being written
                return json.loads(self._file.read_text())["address"]
            time.sleep(0.02)
        raise AssertionError("the scheduler did not start")


@contextmanager
def dask_processes(folder: Path, workers: int, *words: str) -> Iterator[DaskProcesses]:
    """A scheduler and workers with the resource, which end with the context."""
    processes = DaskProcesses(folder)
    try:
        for _ in range(workers):
            processes.worker(*RESOURCE, *words)
        yield processes
    finally:
        processes.close()
