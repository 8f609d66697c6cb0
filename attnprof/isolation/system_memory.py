"""How much memory a call may still take, and what keeps it to that."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from attnprof.core.workload import Device

_CGROUP = Path("/sys/fs/cgroup")
_VMSTAT = Path("/proc/vmstat")
_STATM = Path("/proc/self/statm")


def available_bytes(device: Device) -> int:
    """Memory that a call may still take on the device without being killed for it."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    limit = _number(_CGROUP / "memory.max")
    used = _number(_CGROUP / "memory.current")
    if limit is None or used is None:
        return free
    return min(free, max(0, limit - used + _reclaimable_bytes()))


def limit_bytes(more_bytes: int) -> None:
    """Let this process take so many bytes more, and no others: an allocation beyond that fails.

    Without a limit the system kills some process when memory has run out. Only Linux limits what a
    process may write to; elsewhere nothing is limited.
    """
    if not _STATM.exists():
        return
    import resource

    data_pages = int(_STATM.read_text().split()[5])
    limit = data_pages * resource.getpagesize() + more_bytes
    with suppress(ValueError, OSError):  # a lower limit is set already
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))


def count_kills() -> int:
    """How many processes the system has killed for memory so far; 0 where it does not tell."""
    kills = 0
    for path in (_VMSTAT, _CGROUP / "memory.events"):
        with suppress(OSError):
            counts = dict(line.split() for line in path.read_text().splitlines())
            kills += int(counts.get("oom_kill", 0))
    return kills


def _reclaimable_bytes() -> int:
    """Files that the control group caches, which give way to whoever needs memory."""
    try:
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    counts = dict(line.split() for line in lines)
    return int(counts.get("inactive_file", 0))


def _number(path: Path) -> int | None:
    """What a control group's file says; None where there is no such limit."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
