"""Which other processes keep cores busy, by name, so that a message can say what to close."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from attnprof.core.machine import BusyProcess

MIN_REPORTED_CORES = 0.15
"""Cores that a process must keep busy to be named."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """CPU time of all other processes at one moment.

    Attributes:
        at: seconds on a monotonic clock.
        seconds: name and CPU seconds of each process, by its pid and start time.
    """

    at: float
    seconds: Mapping[tuple[int, float], tuple[str, float]]


def snapshot() -> Snapshot:
    """All visible processes except this one, its descendants and its ancestors."""
    import psutil

    here = psutil.Process()
    family = {process.pid for process in (here, *here.parents(), *here.children(recursive=True))}
    seconds: dict[tuple[int, float], tuple[str, float]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid not in family:
                times: Any = process.cpu_times()
                key = (process.pid, process.create_time())
                seconds[key] = (process.name(), times.user + times.system)
    return Snapshot(time.monotonic(), seconds)


def busy_between(before: Snapshot, after: Snapshot) -> tuple[BusyProcess, ...]:
    """Processes that kept at least `MIN_REPORTED_CORES` busy, busiest first.

    Processes that started between the two snapshots are included.
    """
    passed = after.at - before.at
    if passed <= 0:
        return ()
    processes = (
        BusyProcess(name, key[0], (spent - before.seconds.get(key, (name, 0.0))[1]) / passed)
        for key, (name, spent) in after.seconds.items()
    )
    busy = [process for process in processes if process.cores >= MIN_REPORTED_CORES]
    return tuple(sorted(busy, key=lambda process: -process.cores))
