"""The machine profile that `attnprof doctor` measures and stores, and that predictions read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from attnprof.core.errors import UsageError
from attnprof.core.typed_json import UnexpectedError, parse_object, read_as
from attnprof.core.units import format_tokens
from attnprof.core.workload import Device, DType, Mode, Scope

SCHEMA = 1
FORMAT = "attnprof machine"
"""The value of `format` in the file of a machine profile."""

_REMEDY = "create one with attnprof doctor --json machine.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How fast a device multiplies and copies.

    Attributes:
        matmul_macs_per_s: MACs per second of one large matrix product, by dtype; dtypes that
            failed are missing.
        copy_bytes_per_s: bytes per second, read plus written, of the copy of a large tensor; None
            if it failed.
    """

    matmul_macs_per_s: dict[DType, int]
    copy_bytes_per_s: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How much times of the same work vary; spreads are divided by the median.

    Attributes:
        single_spread: interquartile range of single times.
        paired_spread: interquartile range of ratios of two times measured one after the other.
        outlier_spread: how far the 99th percentile of single times is above their median.
        single_ns: median of the single times, in nanoseconds.
        pairs: the number of pairs that were timed.
    """

    single_spread: float
    paired_spread: float
    outlier_spread: float = 0.0
    single_ns: int = 0
    pairs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What may have affected the times while the noise was measured; None if unknown.

    Attributes:
        logical_cores: logical cores of the system.
        usable_cores: logical cores that this process may run on.
        physical_cores: physical cores of the system.
        threads: threads that the matrix product used.
        cores_used_by_others: how many cores other processes kept busy.
        stolen_share: the share of all cores' time that the hypervisor gave to other guests.
        quota_cores: CPU quota of the control group, in cores.
        governor: the processor's frequency governor.
        on_battery: whether the machine ran on battery.
    """

    logical_cores: int
    usable_cores: int
    physical_cores: int | None = None
    threads: int
    cores_used_by_others: float | None = None
    stolen_share: float | None = None
    quota_cores: float | None = None
    governor: str | None = None
    on_battery: bool | None = None


@dataclass(frozen=True, slots=True)
class BusyProcess:
    """A process, and how many cores it kept busy."""

    name: str
    pid: int
    cores: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A measured time and the work that was done in it.

    Attributes:
        seq_len: the length in tokens.
        executed_macs: MACs that the kernel executed.
        moved_bytes: the least number of bytes that it read and wrote.
        time_ns: the median time in nanoseconds.
        time_low_ns: lower end of its 99 % interval.
        time_high_ns: upper end of its 99 % interval.
    """

    seq_len: int
    executed_macs: int
    moved_bytes: int
    time_ns: int
    time_low_ns: int
    time_high_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSample:
    """A kernel's time at one length.

    Attributes:
        kernel: the kernel's name.
        dtype: of the workload.
        mode: of the workload.
        scope: of the workload.
        sample: the time.
    """

    kernel: str
    dtype: DType
    mode: Mode
    scope: Scope
    sample: Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The profile of one device of a machine.

    Attributes:
        device: the device.
        environment: `attnprof.measure.environment.Environment.as_dict()`.
        memory_bytes: bytes that a call could allocate on the device at that time.
        rates: throughput of the device.
        noise: how much its times vary; None if that could not be measured.
        kernel_samples: times of kernels.
        conditions: the conditions under which the noise was measured.
        failures: the reason, by name of the part of the profile that failed.
        left_out: the reason, by name of the part that was not begun.
        disturbed: how many cores other processes kept busy, by name of the part whose times that
            disturbed.
    """

    device: Device
    environment: Mapping[str, object]
    memory_bytes: int
    rates: Rates
    noise: Noise | None
    kernel_samples: tuple[KernelSample, ...]
    conditions: Conditions | None = None
    failures: Mapping[str, str] = field(default_factory=dict[str, str])
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    disturbed: Mapping[str, float] = field(default_factory=dict[str, float])

    def samples_of(self, kernel: str) -> list[KernelSample]:
        """Times of a kernel: the undisturbed ones, or all if each was disturbed."""
        samples = [sample for sample in self.kernel_samples if sample.kernel == kernel]
        undisturbed = [
            timed
            for timed in samples
            if part_of(kernel, timed.sample.seq_len) not in self.disturbed
        ]
        return undisturbed or samples

    def to_json(self) -> str:
        """The profile as `read_machine` reads it."""
        document = {"format": FORMAT, "schema": SCHEMA, **asdict(self)}
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def part_of(kernel: str, seq_len: int) -> str:
    """The name of a kernel's times at one length, as a part of the profile."""
    return f"{kernel} at {format_tokens(seq_len)}"


def read_machine(path: str) -> Machine:
    """The machine profile in a file.

    Raises:
        UsageError: if the file cannot be read, or is not a complete machine profile.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError("machine", path, f"no such file; {_REMEDY}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError("machine", path, f"cannot be read ({reason}); {_REMEDY}") from error
    except ValueError as error:  # not UTF-8, or a path that contains a zero byte
        raise UsageError("machine", path, f"is not a machine profile; {_REMEDY}") from error
    try:
        document = parse_object(text)
    except UnexpectedError as error:
        raise UsageError("machine", path, f"is not a machine profile; {_REMEDY}") from error
    if document.get("format") != FORMAT:
        raise UsageError("machine", path, f"is not a machine profile; {_REMEDY}")
    if document.get("schema") != SCHEMA:
        raise UsageError(
            "machine",
            path,
            f"has schema {document.get('schema')}, but this attnprof reads {SCHEMA}; {_REMEDY}",
        )
    try:
        machine = read_as(Machine, document)
        check_machine(machine)
    except UnexpectedError as error:
        raise UsageError(
            "machine", path, f"is not a valid machine profile: {error}; {_REMEDY}"
        ) from error
    return machine


def check_machine(machine: Machine) -> None:
    """Refuse numbers from which nothing can be predicted.

    Raises:
        UnexpectedError: for the first of them.
    """
    for dtype, rate in machine.rates.matmul_macs_per_s.items():
        if rate == 0:
            raise UnexpectedError(f"rates.matmul_macs_per_s.{dtype} is 0")
    if machine.rates.copy_bytes_per_s == 0:
        raise UnexpectedError("rates.copy_bytes_per_s is 0")
    for index, timed in enumerate(machine.kernel_samples):
        path, sample = f"kernel_samples[{index}].sample", timed.sample
        for name in ("seq_len", "executed_macs", "time_low_ns"):
            if getattr(sample, name) == 0:
                raise UnexpectedError(f"{path}.{name} is 0")
        if not sample.time_low_ns <= sample.time_ns <= sample.time_high_ns:
            raise UnexpectedError(f"{path}.time_ns is outside its interval")
