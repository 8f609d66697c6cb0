"""Measures on Dask workers while cases kill them: rows, overhead and memory of the client.

    python examples/benchmarks/benchmark_dask.py

A kernel of this file fails at some lengths: it raises, ends its own process, or kills the Dask
worker. Beside that, a worker is killed every ten seconds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from attnprof.measure import worker_tasks

HIDDEN_SIZE = 32
WORKERS = 2
SHORTEST, LONGEST = 8, 57
KILL_SECONDS = 10.0

RAISES, EXITS, KILLS = (10, 24, 38), (12, 26, 40), (14, 28, 42, 56)
"""Lengths at which one kernel of a group of four fails: ten of 200 cases, 5 %."""


class Mixer(nn.Module):
    """A linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(HIDDEN_SIZE, HIDDEN_SIZE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(batch, len, hidden)` to the same."""
        return self.linear(x)


class Other(Mixer):
    """The same with another name."""


class Faulty(Mixer):
    """A linear layer that fails while it is counted, at some lengths."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(batch, len, hidden)` to the same."""
        if _is_counted():
            if x.shape[1] in RAISES:
                raise RuntimeError("it broke")
            if x.shape[1] in EXITS:
                os._exit(7)
            if x.shape[1] in KILLS:
                kill_dask_worker()
        return self.linear(x)


def _is_counted() -> bool:
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code is worker_tasks.count_with.__code__:
            return True
        frame = frame.f_back
    return False


def dask_workers() -> list[psutil.Process]:
    """The Dask workers among the descendants of this process."""
    return [child for child in psutil.Process().children(recursive=True) if _is_dask(child)]


def _is_dask(process: psutil.Process) -> bool:
    try:
        return "multiprocessing.spawn" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def kill_dask_worker() -> None:
    """Kill the Dask worker that this process belongs to; none outside of one."""
    for parent in psutil.Process().parents():
        if _is_dask(parent):
            parent.kill()
            time.sleep(3600)


def options(**others: Any) -> dict[str, Any]:
    """Two hundred short cases: four kernels at fifty lengths."""
    return {
        "len": list(range(SHORTEST, LONGEST + 1)),
        "kernel": [f"benchmark_dask:{name}" for name in ("Mixer", "Other", "Faulty")]
        + ["longformer-masked"],
        "hidden_size": HIDDEN_SIZE,
        "num_heads": 2,
        "window": 16,
        "no_time": True,
        "threads": 1,
        "device": "cpu",
        **others,
    }


def _kill_now_and_then(done: threading.Event, killed: list[int]) -> None:
    """Kill a worker every ten seconds, one that is up: its forks run."""
    while not done.wait(KILL_SECONDS):
        for worker in dask_workers():
            if worker.children(recursive=True):
                os.kill(worker.pid, signal.SIGKILL)
                killed.append(worker.pid)
                break


def survive() -> None:
    """Two hundred cases, ten of them fatal, and a worker killed every ten seconds."""
    import attnprof

    killed: list[int] = []
    done = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.json"
        killer = threading.Thread(target=_kill_now_and_then, args=(done, killed))
        killer.start()
        start = time.monotonic()
        try:
            table = attnprof.compare(**options(dask=f"local:{WORKERS}", json=str(path)))
        finally:
            done.set()
            killer.join()
        seconds = time.monotonic() - start
        lines = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    ends = Counter(
        (line["kernel"], line["seq_len"]) for line in lines if line.get("quantity") == "case"
    )
    statuses = Counter(row.status for row in table.rows)
    given_up = sum("its worker died twice" in row.detail for row in table.rows)
    print(f"{len(table.rows)} rows in {seconds:.0f} s: {dict(statuses)}; {given_up} given up")
    print(f"{len(ends)} cases on disk, {sum(count > 1 for count in ends.values())} of them twice")
    print(f"{len(killed)} workers killed from outside")
    print(f"processes left: {len(psutil.Process().children(recursive=True))}")


def measure_overhead() -> None:
    """Cases without faults on one Dask worker: what the engine takes, and the client's memory."""
    from attnprof.api.compare import prepare_compare
    from attnprof.measure.on_dask.client_side import _Run

    client, sizes, seconds = psutil.Process(), list[int](), list[float]()
    last = [0.0]
    send, on_message = _Run._send, _Run._on_message

    def timed_send(run: _Run, group: Any, worker: Any) -> None:
        last[0] = time.monotonic()
        send(run, group, worker)

    def timed_message(run: _Run, kind: str, content: Any) -> Iterator[Any]:
        if kind == "done" or (kind == "event" and last[0] and not seconds_of_group):
            seconds_of_group.append(time.monotonic() - last[0])
        last[0] = time.monotonic()
        yield from on_message(run, kind, content)
        if kind == "done":
            seconds.append(sum(seconds_of_group))
            seconds_of_group.clear()

    seconds_of_group: list[float] = []
    _Run._send, _Run._on_message = timed_send, timed_message  # type: ignore[method-assign]
    healthy = ["longformer-masked", "longformer-banded", "bert-sdpa", "bert-eager"]
    with prepare_compare(options(kernel=healthy, dask="local:1")) as request:
        before, cpu = client.memory_info().rss, time.process_time()
        request.run(lambda activity, part: sizes.append(client.memory_info().rss))
        cpu = time.process_time() - cpu
        cases = len(request.table.rows)
    _Run._send, _Run._on_message = send, on_message  # type: ignore[method-assign]
    grown = [f"{(size - before) / 2**20:.1f}" for size in (sizes[len(sizes) // 2], sizes[-1])]
    print(
        f"{cases} cases: from a worker's last record to the first of its next group "
        f"{1e3 * sum(seconds) / cases:.1f} ms a case (limit 20 ms)"
    )
    print(
        f"the client computes {1e3 * cpu / cases:.1f} ms a case, saving included; it has grown "
        f"by {grown[0]} MiB half-way and {grown[1]} MiB at the end"
    )


def main() -> None:
    os.chdir(Path(__file__).parent)
    measure_overhead()
    survive()


if __name__ == "__main__":
    main()
