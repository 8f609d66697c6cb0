"""What a machine can do: measured by `attnprof doctor`, stored, and read for predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from attnprof.core.errors import UsageError
from attnprof.core.typed_json import UnexpectedError, parse_object, read_as
from attnprof.core.units import format_count
from attnprof.core.workload import Device, DType, Mode, Scope

SCHEMA = 1
FORMAT = "attnprof machine"
"""What a machine's file calls itself."""

_REMEDY = "make one with attnprof doctor --json machine.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How fast a device multiplies and copies.

    Attributes:
        matmul_macs_per_s: of one large matrix product, by dtype; dtypes that failed are not there.
        copy_bytes_per_s: read and written by a copy of a large tensor; None where that failed.
    """

    matmul_macs_per_s: dict[DType, int]
    copy_bytes_per_s: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How much times of the same work differ, as parts of their median.

    Attributes:
        single_spread: interquartile range of single times.
        paired_spread: interquartile range of ratios of times taken one after the other.
        outlier_spread: how far the 99th percentile of single times lies above their median.
        single_ns: median of the single times.
        pairs: how many pairs were timed.
    """

    single_spread: float
    paired_spread: float
    outlier_spread: float = 0.0
    single_ns: int = 0
    pairs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What may have disturbed the times while the noise was measured; None where nothing tells it.

    Attributes:
        logical_cores: of the whole system.
        usable_cores: that this process may run on.
        physical_cores: of the whole system.
        threads: that multiplied.
        cores_used_by_others: how many cores other processes kept busy.
        stolen_share: of all cores' time, which the hypervisor gave to other guests.
        quota_cores: that the control group may use at a time.
        governor: of the processor's clock.
        on_battery: whether no mains was plugged in.
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
        environment: `attnprof.measure.environment.Environment.as_dict()`.
        memory_bytes: that a call could take on the device when it was measured.
        rates: of the device.
        noise: of its times; None where that failed.
        kernel_samples: times of kernels.
        conditions: under which the noise was measured.
        failures: why, by the part that failed.
        left_out: why, by the part that was not begun.
        disturbed: cores that others kept busy, by the part whose times that disturbed.
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
        """Times of a kernel: those that nobody disturbed, or all where each was disturbed."""
        samples = [one for one in self.kernel_samples if one.kernel == kernel]
        calm = [one for one in samples if part_of(kernel, one.sample.seq_len) not in self.disturbed]
        return calm or samples

    def to_json(self) -> str:
        """What `read_machine` reads."""
        document = {"format": FORMAT, "schema": SCHEMA, **asdict(self)}
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def part_of(kernel: str, seq_len: int) -> str:
    """What the times of a kernel at a length are called as a part of an examination."""
    return f"{kernel} at {format_count(seq_len)} tokens"


def read_machine(path: str) -> Machine:
    """The machine that a file has.

    Raises:
        UsageError: for a file that cannot be read or has no machine in it, or not a whole one.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError("machine", path, f"there is no such file; {_REMEDY}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError("machine", path, f"cannot be read ({reason}); {_REMEDY}") from error
    except ValueError as error:  # neither UTF-8 nor, with a zero byte in it, a path
        raise UsageError("machine", path, f"has no machine in it; {_REMEDY}") from error
    try:
        document = parse_object(text)
    except UnexpectedError as error:
        raise UsageError("machine", path, f"has no machine in it; {_REMEDY}") from error
    if document.get("format") != FORMAT:
        raise UsageError("machine", path, f"has no machine in it; {_REMEDY}")
    if document.get("schema") != SCHEMA:
        raise UsageError(
            "machine",
            path,
            f"has schema {document.get('schema')}, this attnprof reads {SCHEMA}; {_REMEDY}",
        )
    try:
        machine = read_as(Machine, document)
        _check(machine)
    except UnexpectedError as error:
        raise UsageError("machine", path, f"has no whole machine: {error}; {_REMEDY}") from error
    return machine


def _check(machine: Machine) -> None:
    """Refuse numbers that nothing can be predicted from.

    Raises:
        UnexpectedError: for the first of them.
    """
    for dtype, rate in machine.rates.matmul_macs_per_s.items():
        if rate == 0:
            raise UnexpectedError(f"rates.matmul_macs_per_s.{dtype} is 0")
    if machine.rates.copy_bytes_per_s == 0:
        raise UnexpectedError("rates.copy_bytes_per_s is 0")
    for index, one in enumerate(machine.kernel_samples):
        place, sample = f"kernel_samples[{index}].sample", one.sample
        for name in ("seq_len", "executed_macs", "time_low_ns"):
            if getattr(sample, name) == 0:
                raise UnexpectedError(f"{place}.{name} is 0")
        if not sample.time_low_ns <= sample.time_ns <= sample.time_high_ns:
            raise UnexpectedError(f"{place}.time_ns lies outside its interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A measured time and what was done in it.

    Attributes:
        seq_len: the length, in tokens.
        executed_macs: MACs that were multiplied.
        moved_bytes: bytes read and written, at the least.
        time_ns: the median.
        time_low_ns: lower end of its 99 % interval.
        time_high_ns: upper end of it.
    """

    seq_len: int
    executed_macs: int
    moved_bytes: int
    time_ns: int
    time_low_ns: int
    time_high_ns: int


@dataclass(frozen=True, slots=True)
class BusyProcess:
    """A process, and how many cores it kept busy."""

    name: str
    pid: int
    cores: float
