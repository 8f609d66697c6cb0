"""Load of the machine by other processes while something is timed, as far as the system reports."""

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
    """CPU seconds since the system started, summed over all cores.

    Attributes:
        at: when they were read, in seconds on a monotonic clock.
        busy: used by all processes.
        own: used by this process and by others of the same run.
        stolen: given to other guests by the hypervisor; None if the system does not report it.
        all_cores: busy, idle and stolen together.
    """

    at: float
    busy: float
    own: float
    stolen: float | None
    all_cores: float


def cpu_times(own_elsewhere: float = 0.0) -> CpuTimes:
    """The load so far.

    Args:
        own_elsewhere: CPU seconds that other processes of this run have used.
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
    """How many cores other processes kept busy on average; None if no time has passed."""
    seconds = after.at - before.at
    if seconds <= 0:
        return None
    return max(0.0, (after.busy - before.busy - (after.own - before.own)) / seconds)


def stolen_share(before: CpuTimes, after: CpuTimes) -> float | None:
    """The fraction of all cores' time that the hypervisor gave to other guests."""
    passed = after.all_cores - before.all_cores
    if before.stolen is None or after.stolen is None or passed <= 0:
        return None
    return max(0.0, (after.stolen - before.stolen) / passed)


def cores_within_quota() -> float:
    """Cores that this process may keep busy, by its affinity and by the quota of its container."""
    cores = usable_cores()
    return min(cores, _quota_cores() or cores)


def own_cpu_seconds() -> tuple[int, float]:
    """The pid of this process, and the CPU seconds that it and its descendants have used."""
    return os.getpid(), time.process_time() + child_cpu_seconds()


def child_cpu_seconds() -> float:
    """CPU seconds that the descendants of this process have used."""
    import psutil

    seconds = 0.0
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            spent: Any = child.cpu_times()
            seconds += spent.user + spent.system
    return seconds


def thread_waits() -> dict[str, int] | None:
    """Nanoseconds that each thread of this process was runnable without a core, by thread id.

    This is the second field of Linux's schedstat, see Documentation/scheduler/sched-stats.rst.
    None if the system does not report it.
    """
    waits: dict[str, int] = {}
    try:
        for thread in os.listdir(_THREADS):  # noqa: PTH208  # names only, at the lowest cost
            with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
                waits[thread] = int(_read(f"{_THREADS}/{thread}/schedstat").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return waits or None


def _read(path: str) -> bytes:
    """Read a small file at the lowest cost: this runs before and after each timed call."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 256)
    finally:
        os.close(descriptor)


def longest_wait_ns(
    before: Mapping[str, int] | None, after: Mapping[str, int] | None
) -> int | None:
    """The longest time that one thread waited for a core between two readings of `thread_waits`."""
    if before is None or after is None:
        return None
    return max((waited - before.get(thread, 0) for thread, waited in after.items()), default=0)


def conditions(before: CpuTimes, after: CpuTimes, threads: int) -> Conditions:
    """What may have disturbed times that were measured between two readings of the load."""
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
    """Cores that the control group may use at a time; None if it has no limit."""
    words = (_text(_QUOTA) or "").split()
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        return None
    return int(words[0]) / int(words[1])


def _on_battery() -> bool | None:
    import psutil

    battery: Any = None
    with suppress(Exception):  # systems without a battery raise different errors
        battery = psutil.sensors_battery()
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
