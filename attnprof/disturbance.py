"""What else runs on the machine while something is timed, as far as the system tells."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnprof.machine import Conditions

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class Load:
    """Seconds of work since the system began, of all cores together.

    Attributes:
        at: when this was so, in seconds of a clock that only runs.
        busy: of all processes.
        own: of this process.
        stolen: given to other guests by the hypervisor; None where the system does not tell.
        all_cores: that have passed.
    """

    at: float
    busy: float
    own: float
    stolen: float | None
    all_cores: float


def load() -> Load:
    """The load until now."""
    import psutil

    times: Any = psutil.cpu_times()
    busy_names = ("user", "nice", "system", "irq", "softirq")
    busy = sum(float(getattr(times, name, 0.0)) for name in busy_names)
    stolen = float(times.steal) if hasattr(times, "steal") else None
    idle = float(times.idle) + float(getattr(times, "iowait", 0.0))
    own = time.process_time()
    return Load(time.monotonic(), busy, own, stolen, busy + idle + (stolen or 0.0))


def cores_used_by_others(before: Load, after: Load) -> float | None:
    """How many cores other processes kept busy; None where no time has passed."""
    seconds = after.at - before.at
    if seconds <= 0:
        return None
    return max(0.0, (after.busy - before.busy - (after.own - before.own)) / seconds)


def conditions(before: Load, after: Load, threads: int) -> Conditions:
    """What disturbed times that were taken between two loads."""
    import psutil

    others = cores_used_by_others(before, after)
    stolen_share = None
    passed = after.all_cores - before.all_cores
    if before.stolen is not None and after.stolen is not None and passed > 0:
        stolen_share = (after.stolen - before.stolen) / passed
    logical_cores = psutil.cpu_count() or 1
    return Conditions(
        logical_cores=logical_cores,
        usable_cores=_usable_cores(logical_cores),
        physical_cores=psutil.cpu_count(logical=False),
        threads=threads,
        cores_used_by_others=None if others is None else round(others, 2),
        stolen_share=None if stolen_share is None else round(max(0.0, stolen_share), 4),
        quota_cores=_quota_cores(),
        governor=_text(_GOVERNOR),
        on_battery=_on_battery(),
    )


def _usable_cores(logical_cores: int) -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return logical_cores


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
