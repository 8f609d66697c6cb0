"""Injects faults into a comparison, and checks that each becomes a row and leaves nothing behind.

    python examples/benchmarks/benchmark_survival.py

Each kernel of this file fails in one way at one step: `benchmark_survival:segfault_in_count` is
killed by SIGSEGV when it is counted. One healthy kernel runs beside them.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from attnprof.measure import worker_tasks

HIDDEN_SIZE = 32
STEPS = ("build", "count", "memory", "warm_up", "time")
TIMEOUT_SECONDS = 5.0

FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "raise": (lambda: _raise(), "error"),
    "exit": (lambda: os._exit(7), "error"),
    "segfault": (lambda: os.kill(os.getpid(), signal.SIGSEGV), "error"),
    "kill": (lambda: os.kill(os.getpid(), signal.SIGKILL), "error"),
    "allocate": (lambda: torch.empty(2**50, dtype=torch.uint8), "oom"),
    "hang": (lambda: time.sleep(3600), "timeout"),
}
"""By name: what the fault does, and the status that its row must have."""


def _raise() -> None:
    raise RuntimeError("it broke")


class Faulty(nn.Module):
    """A linear layer that fails at one step of a measurement."""

    def __init__(self, fault: str, step: str) -> None:
        super().__init__()
        self.linear = nn.Linear(HIDDEN_SIZE, HIDDEN_SIZE)
        self._fault, self._step = fault, step
        self._timed = 0
        if step == "build" and _running_step() != "":
            FAULTS[fault][0]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(batch, len, hidden)` to the same."""
        step = _running_step()
        if step == "timed":
            self._timed += 1
            step = "warm_up" if self._timed == 1 else "time" if self._timed > 3 else ""
        if step == self._step:
            FAULTS[self._fault][0]()
        return self.linear(x)


_STEPS = {
    worker_tasks.build.__code__: "build",
    worker_tasks.count_with.__code__: "count",
    worker_tasks.peak_memory.__code__: "memory",
    worker_tasks.timed.__code__: "timed",
}
"""The functions that workers run, and the step that each belongs to."""


def _running_step() -> str:
    """The step of a measurement that is running; empty if there is none."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code in _STEPS:
            return _STEPS[frame.f_code]
        frame = frame.f_back
    return ""


def __getattr__(name: str) -> Callable[[], Faulty]:
    fault, _, step = name.partition("_in_")
    if fault not in FAULTS or step not in STEPS:
        raise AttributeError(name)
    return lambda: Faulty(fault, step)


def names() -> list[str]:
    """All kernels of this file."""
    return [f"{fault}_in_{step}" for fault in FAULTS for step in STEPS]


def main() -> None:
    import psutil

    import attnprof

    os.chdir(Path(__file__).parent)
    lengths = [16, 32, 48, 64]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        results = Path(folder) / "results"
        results.mkdir()
        table = attnprof.compare(
            len=lengths,
            kernel=[*(f"benchmark_survival:{name}" for name in names()), "bert-sdpa"],
            hidden_size=HIDDEN_SIZE,
            num_heads=2,
            max_seconds=1,
            timeout=TIMEOUT_SECONDS,
            json=str(results / "survival.json"),
        )
        left = [path.name for path in results.iterdir()]
        # torch keeps its compiled kernels for later runs.
        temporary = [
            path.name
            for path in Path(folder).iterdir()
            if path != results and not path.name.startswith("torchinductor_")
        ]
    expected = {f"benchmark_survival:{name}": FAULTS[name.split("_in_")[0]][1] for name in names()}
    expected["bert-sdpa"] = "ok"
    right = [row for row in table.rows if row.status == expected[row.kernel]]
    for row in table.rows:
        if row not in right:
            print(f"WRONG {row.kernel} at {row.workload.seq_len}: {row.status}: {row.detail}")
    healthy = [row for row in table.rows if row.kernel == "bert-sdpa" and "time_ns" in row.values]
    orphans = psutil.Process().children(recursive=True)
    print(f"{len(names()) * len(lengths)} faults: {len(right) - len(healthy)} rows as expected")
    print(f"{len(lengths)} healthy rows: {len(healthy)} measured whole")
    print(f"processes left: {len(orphans)}; files left: {sorted(left)}, temporary: {temporary}")


if __name__ == "__main__":
    main()
