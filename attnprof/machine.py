"""What a machine can do: measured by `attnprof doctor`, stored, and read for predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
