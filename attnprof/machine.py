"""What a machine can do: measured by `attnprof doctor`, stored, and read for predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnprof.errors import UsageError
from attnprof.prediction import Sample
from attnprof.workload import Device, DType, Mode, Scope

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How fast a device multiplies and copies.

    Attributes:
        matmul_macs_per_s: of one large matrix product, by dtype.
        copy_bytes_per_s: read and written by a copy of a large tensor.
    """

    matmul_macs_per_s: dict[DType, int]
    copy_bytes_per_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How much times of the same work differ, as parts of their median.

    Attributes:
        single_spread: interquartile range of single times.
        paired_spread: interquartile range of ratios of times taken one after the other.
    """

    single_spread: float
    paired_spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSample:
    """A kernel's time at one length, and what of a workload changes how fast it is."""

    kernel: str
    dtype: DType
    mode: Mode
    scope: Scope
    sample: Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine with one of its devices.

    Attributes:
        device: what was measured.
        environment: `attnprof.environment.Environment.as_dict()`.
        memory_bytes: that a call could take on the device when it was measured.
        rates: of the device.
        noise: of its times.
        kernel_samples: times of kernels.
    """

    device: Device
    environment: Mapping[str, object]
    memory_bytes: int
    rates: Rates
    noise: Noise
    kernel_samples: tuple[KernelSample, ...]


def read_machine(path: str) -> Machine:
    """A machine that was stored.

    Raises:
        UsageError: for a file that cannot be read, or that is none of a machine.
    """
    try:
        document: dict[str, Any] = json.loads(Path(path).read_text())
        samples = tuple(
            KernelSample(**(one | {"sample": Sample(**one["sample"])}))
            for one in document["kernel_samples"]
        )
        return Machine(
            device=document["device"],
            environment=document["environment"],
            memory_bytes=document["memory_bytes"],
            rates=Rates(**document["rates"]),
            noise=Noise(**document["noise"]),
            kernel_samples=samples,
        )
    except OSError as error:
        raise UsageError("machine", path, f"cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError("machine", path, "no machine that attnprof doctor has stored") from error
