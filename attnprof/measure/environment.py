"""The measuring machine: processor, memory, GPU, and versions of packages.

Slow imports are made where they are used: estimates and help do not need them.
"""

from __future__ import annotations

import hashlib
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

NO_CUDA = "torch finds no CUDA device; use cpu or auto; attnprof estimate needs none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine that results were measured on; stored with them.

    Attributes:
        processor: name of the CPU.
        cores: logical cores that the process may run on.
        threads: that torch computes with on CPU.
        memory_bytes: total memory of the system.
        gpu: name of the GPU; None without one.
        system: operating system kernel and its release.
        python: version.
        packages: versions by name.
        physical_cores: of the system; None if it does not report them.
        cpu_capability: the widest instruction set that torch uses, such as `AVX512`.
        blas: libraries that multiply matrices on CPU, such as `MKL 2024.2, oneDNN v3.12.0`.
        driver: version of the GPU's driver.
        cuda: version of CUDA that torch was built with.
        host: digest of the host's name, which tells equal machines apart.
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
    host: str | None = None

    def as_dict(self) -> dict[str, object]:
        """The fields by name, for JSON."""
        return asdict(self)


def capture() -> Environment:
    """The environment of this process; loads torch for threads and GPU."""
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
        host=hashlib.sha256(platform.node().encode()).hexdigest()[:8],
    )


def blas_of(config: str) -> str | None:
    """The libraries that multiply matrices, from the text of `torch.__config__.show()`."""
    libraries = [
        f"{name} {match[1]}" for name, pattern in _BLAS.items() if (match := pattern.search(config))
    ]
    built_with = re.search(r"BLAS_INFO=(\w+)", config)
    if built_with and built_with[1] != "mkl":
        libraries.insert(0, _BLAS_NAMES.get(built_with[1], built_with[1]))
    return ", ".join(libraries) or None


def count_gpus() -> int:
    """CUDA devices that this process may use."""
    import torch

    return torch.cuda.device_count()


def resolve_device(device: str) -> Device:
    """The device of a name; `auto` is CUDA if there is a CUDA device, else CPU.

    Raises:
        UsageError: for `cuda` without a CUDA device, or for any other name.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device", device, NO_CUDA)
    if device not in ("cpu", "cuda"):
        raise UsageError("device", device, "unknown; choose from auto, cpu, cuda")
    return device


def _processor() -> str:
    """The processor's name according to Linux, else according to Python."""
    import platform

    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _driver() -> str | None:
    """The version of NVIDIA's driver, from its kernel module, else from `nvidia-smi`."""
    import subprocess

    try:
        text = _NVIDIA_DRIVER.read_text()
    except OSError:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            result = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        text = result.stdout
    match = re.search(r"\b\d+\.\d+(?:\.\d+)?\b", text)
    return match[0] if match else None


def versions(*packages: str) -> dict[str, str]:
    """Versions of packages by name; `not installed` for missing ones."""
    return {name: _version(name) for name in packages}


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
