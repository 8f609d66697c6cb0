"""The machine that measures: what it is, what runs on it.

What takes time to import is imported where it is used: estimates and help need none of it.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

from attnprof.core.cpu import usable_cores
from attnprof.core.errors import UsageError
from attnprof.core.workload import Device

_PACKAGES = ("attnprof", "torch", "transformers", "ptflops")

_BLAS = {
    "MKL": re.compile(r"Math Kernel Library Version ([\w.]+?)(?:-Product| |$)", re.MULTILINE),
    "oneDNN": re.compile(r"(?:MKL-DNN|oneDNN) (v[\w.]+)"),
}
_BLAS_NAMES = {"open": "OpenBLAS", "accelerate": "Accelerate", "nvpl": "NVPL", "flame": "BLIS"}
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where numbers were measured; stored beside them.

    Attributes:
        processor: its name.
        cores: logical ones that the process may run on.
        threads: that torch multiplies with on CPU.
        memory_bytes: of the system.
        gpu: its name.
        system: the kernel.
        python: its version.
        packages: versions.
        physical_cores: of the system; None where it does not tell.
        cpu_capability: the widest instructions that torch uses, as `AVX512`.
        blas: what multiplies matrices on CPU, as `MKL 2024.2, oneDNN v3.12.0`.
        driver: version of the GPU's driver.
        cuda: version of CUDA that torch was built with.
    """

    processor: str
    cores: int
    threads: int | None
    memory_bytes: int
    gpu: str | None
    system: str
    python: str
    packages: dict[str, str]
    physical_cores: int | None = None
    cpu_capability: str | None = None
    blas: str | None = None
    driver: str | None = None
    cuda: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return asdict(self)

    def describe(self, device: Device) -> str:
        """The device and the versions in a line."""
        versions = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        if device == "cuda":
            return f"{self.gpu}; {versions}"
        threads = f", {_counted(self.threads, 'thread')}" if self.threads else ""
        return f"{self.processor}, {_counted(self.cores, 'core')}{threads}; {versions}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def capture() -> Environment:
    """The environment of this process; loads torch to ask for threads and GPU."""
    import platform

    import psutil
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return Environment(
        processor=_processor(),
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        memory_bytes=psutil.virtual_memory().total,
        gpu=gpu,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages=versions(*_PACKAGES),
        physical_cores=psutil.cpu_count(logical=False),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        blas=blas_of(torch.__config__.show()),
        driver=_driver() if gpu else None,
        cuda=torch.version.cuda,
    )


def blas_of(config: str) -> str | None:
    """What multiplies matrices, from what torch tells of how it was built."""
    found = [
        f"{name} {match[1]}" for name, pattern in _BLAS.items() if (match := pattern.search(config))
    ]
    built_with = re.search(r"BLAS_INFO=(\w+)", config)
    if built_with and built_with[1] != "mkl":
        found.insert(0, _BLAS_NAMES.get(built_with[1], built_with[1]))
    return ", ".join(found) or None


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


def _driver() -> str | None:
    """The version of NVIDIA's driver: its module's, else what its tool says."""
    import subprocess

    try:
        text = _NVIDIA_DRIVER.read_text()
    except OSError:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        text = done.stdout
    match = re.search(r"\b\d+\.\d+(?:\.\d+)?\b", text)
    return match[0] if match else None


def versions(*packages: str) -> dict[str, str]:
    """Of installed packages, by name."""
    return {name: _version(name) for name in packages}


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
