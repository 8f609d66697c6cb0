"""Free memory of the system, a limit for this process, and kills for lack of memory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from attnprof.core.workload import Device

_CGROUP = Path("/sys/fs/cgroup")
_VMSTAT = Path("/proc/vmstat")
_STATM = Path("/proc/self/statm")


def available_bytes(device: Device) -> int:
    """Bytes that a call can still allocate on the device without being killed for it.

    On CPU that is the system's available memory, or less where a control group has a limit.
    """
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
    """Limit what this process may allocate from now on: an allocation beyond that fails.

    Without a limit the system kills some process when it runs out of memory. Only Linux has a
    limit of writable memory; on other systems this does nothing.

    Args:
        more_bytes: bytes that the process may allocate beyond what it has.
    """
    if not _STATM.exists():
        return
    import resource

    data_pages = int(_STATM.read_text().split()[5])
    limit = data_pages * resource.getpagesize() + more_bytes
    with suppress(ValueError, OSError):  # a lower limit is set already
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))


def count_kills() -> int:
    """How many processes the system has killed for lack of memory so far; 0 if unknown."""
    kills = 0
    for path in (_VMSTAT, _CGROUP / "memory.events"):
        with suppress(OSError):
            counts = dict(line.split() for line in path.read_text().splitlines())
            kills += int(counts.get("oom_kill", 0))
    return kills


def _reclaimable_bytes() -> int:
    """Bytes of the control group's file cache that the system frees when memory is needed."""
    try:
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    counts = dict(line.split() for line in lines)
    return int(counts.get("inactive_file", 0))


def _number(path: Path) -> int | None:
    """The number in a control group's file; None if there is no limit or no such file."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
