"""Which other processes keep cores busy, by name, for a message that says what to close."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from attnprof.core.machine import BusyProcess

WORTH_NAMING = 0.15
"""Cores that a process keeps busy to be named."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Seconds that each other process has worked, by its number and its start.

    Attributes:
        at: when this was so, in seconds of a clock that only runs.
        seconds: with the name.
    """

    at: float
    seconds: Mapping[tuple[int, float], tuple[str, float]]


def snapshot() -> Snapshot:
    """All processes that are seen here but this one, what it has started and what started it."""
    import psutil

    here = psutil.Process()
    own = {one.pid for one in (here, *here.parents(), *here.children(recursive=True))}
    seconds: dict[tuple[int, float], tuple[str, float]] = {}
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if one.pid not in own:
                times: Any = one.cpu_times()
                key = (one.pid, one.create_time())
                seconds[key] = (one.name(), times.user + times.system)
    return Snapshot(time.monotonic(), seconds)


def busy_between(before: Snapshot, after: Snapshot) -> tuple[BusyProcess, ...]:
    """The processes that are worth naming, busiest first; some may have begun in between."""
    passed = after.at - before.at
    if passed <= 0:
        return ()
    busy = (
        BusyProcess(name, key[0], (spent - before.seconds.get(key, (name, 0.0))[1]) / passed)
        for key, (name, spent) in after.seconds.items()
    )
    worth = [one for one in busy if one.cores >= WORTH_NAMING]
    return tuple(sorted(worth, key=lambda one: -one.cores))
