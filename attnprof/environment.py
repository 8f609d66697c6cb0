"""The machine that measures: what it is, what runs on it.

What takes time to import is imported where it is used: estimates and help need none of it.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from attnprof.errors import UsageError
from attnprof.workload import Device

_PACKAGES = ("attnprof", "torch", "transformers", "ptflops")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where numbers were measured; stored beside them."""

    processor: str
    cores: int
    threads: int | None
    memory_bytes: int
    gpu: str | None
    system: str
    python: str
    packages: dict[str, str]

    def as_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return asdict(self)

    def describe(self, device: Device) -> str:
        """The device and the versions in a line."""
        versions = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        if device == "cuda":
            return f"{self.gpu}; {versions}"
        threads = f", {self.threads} threads" if self.threads else ""
        return f"{self.processor}, {self.cores} cores{threads}; {versions}"


def capture() -> Environment:
    """The environment of this process; loads torch to ask for threads and GPU."""
    import platform

    import psutil
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return Environment(
        processor=_processor(),
        cores=_cores(),
        threads=torch.get_num_threads(),
        memory_bytes=psutil.virtual_memory().total,
        gpu=gpu,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
    )


def resolve_device(device: str) -> Device:
    """`auto` is CUDA where there is one, else CPU.

    Raises:
        UsageError: for CUDA where torch sees none, or for a device of another kind.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device", device, "torch sees no CUDA device here; use cpu or auto")
    if device not in ("cpu", "cuda"):
        raise UsageError("device", device, "choose from auto, cpu, cuda")
    return device


def _processor() -> str:
    """The processor's name as Linux tells it, else as Python does."""
    import platform

    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
