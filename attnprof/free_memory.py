"""How much memory a call may still take."""

from __future__ import annotations

from pathlib import Path

from attnprof.workload import Device

_CGROUP = Path("/sys/fs/cgroup")


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
