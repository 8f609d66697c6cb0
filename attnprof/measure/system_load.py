"""What else runs on the machine while something is timed, as far as the system tells."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnprof.core.cpu import usable_cores
from attnprof.core.machine import Conditions

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_THREADS = "/proc/self/task"


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds of work since the system began, of all cores together.

    Attributes:
        at: when this was so, in seconds of a clock that only runs.
        busy: of all processes.
        own: of this process, and of others of the same run.
        stolen: given to other guests by the hypervisor; None where the system does not tell.
        all_cores: that have passed.
    """

    at: float
    busy: float
    own: float
    stolen: float | None
    all_cores: float


def cpu_times(own_elsewhere: float = 0.0) -> CpuTimes:
    """The load until now.

    Args:
        own_elsewhere: seconds that other processes of this run have worked.
    """
    import psutil

    times: Any = psutil.cpu_times()
    busy_names = ("user", "nice", "system", "irq", "softirq")
    busy = sum(float(getattr(times, name, 0.0)) for name in busy_names)
    stolen = float(times.steal) if hasattr(times, "steal") else None
    idle = float(times.idle) + float(getattr(times, "iowait", 0.0))
    own = time.process_time() + own_elsewhere
    return CpuTimes(time.monotonic(), busy, own, stolen, busy + idle + (stolen or 0.0))


def cores_used_by_others(before: CpuTimes, after: CpuTimes) -> float | None:
    """How many cores other processes kept busy; None where no time has passed."""
    seconds = after.at - before.at
    if seconds <= 0:
        return None
    return max(0.0, (after.busy - before.busy - (after.own - before.own)) / seconds)


def stolen_share(before: CpuTimes, after: CpuTimes) -> float | None:
    """The part of all cores' time that the hypervisor gave to other guests."""
    passed = after.all_cores - before.all_cores
    if before.stolen is None or after.stolen is None or passed <= 0:
        return None
    return max(0.0, (after.stolen - before.stolen) / passed)


def cores_within_quota() -> float:
    """Cores that this process may keep busy: by its affinity, and by its container's quota."""
    cores = usable_cores()
    return min(cores, _quota_cores() or cores)


def own_seconds() -> tuple[int, float]:
    """This process, and the seconds that it and those that it started have worked."""
    return os.getpid(), time.process_time() + started_seconds()


def started_seconds() -> float:
    """Seconds that the processes which this one started, and theirs, have worked."""
    import psutil

    seconds = 0.0
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            spent: Any = child.cpu_times()
            seconds += spent.user + spent.system
    return seconds


def thread_waits() -> dict[str, int] | None:
    """Nanoseconds that each thread of this process could have run and had no core, by its number.

    The second field of Linux's schedstat, see Documentation/scheduler/sched-stats.rst; None where
    the system does not tell it.
    """
    waits: dict[str, int] = {}
    try:
        for thread in os.listdir(_THREADS):  # noqa: PTH208  # names alone, at the least cost
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                waits[thread] = int(_read(f"{_THREADS}/{thread}/schedstat").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return waits or None


def _read(path: str) -> bytes:
    """A small file, at the least cost: this is done before and after each timed call."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 256)
    finally:
        os.close(descriptor)


def longest_wait_ns(
    before: Mapping[str, int] | None, after: Mapping[str, int] | None
) -> int | None:
    """The longest that one thread waited for a core between two looks at `thread_waits`."""
    if before is None or after is None:
        return None
    return max((waited - before.get(thread, 0) for thread, waited in after.items()), default=0)


def conditions(before: CpuTimes, after: CpuTimes, threads: int) -> Conditions:
    """What disturbed times that were taken between two loads."""
    import psutil

    others = cores_used_by_others(before, after)
    stolen = stolen_share(before, after)
    logical_cores = psutil.cpu_count() or 1
    return Conditions(
        logical_cores=logical_cores,
        usable_cores=usable_cores(),
        physical_cores=psutil.cpu_count(logical=False),
        threads=threads,
        cores_used_by_others=None if others is None else round(others, 2),
        stolen_share=None if stolen is None else round(stolen, 4),
        quota_cores=_quota_cores(),
        governor=_text(_GOVERNOR),
        on_battery=_on_battery(),
    )


def _quota_cores() -> float | None:
    """Cores that the control group may use at a time; None where it has no limit."""
    words = (_text(_QUOTA) or "").split()
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        return None
    return int(words[0]) / int(words[1])


def _on_battery() -> bool | None:
    import psutil

    battery: Any = None
    with suppress(Exception):  # systems differ in how they lack it
        battery = psutil.sensors_battery()
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
