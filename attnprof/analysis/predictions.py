"""Predicted times of cases, from other lengths of their series or from a machine profile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from attnprof import kernels
from attnprof.analysis.time_model import (
    CROSS_DTYPE_ERROR,
    LOWEST_EFFICIENCY,
    PredictedTime,
    predict_from_rates,
    predict_time,
    roofline_ns,
    widen_interval,
)
from attnprof.core.errors import AttnprofError
from attnprof.core.machine import KernelSample, Machine, Sample
from attnprof.core.records import (
    CASE,
    PREDICTED_TIME,
    PREDICTED_TIME_HIGH,
    PREDICTED_TIME_LOW,
    WITHHELD,
    Record,
    Value,
)
from attnprof.core.units import format_share
from attnprof.core.workload import DTYPE_BYTES, Case, Workload
from attnprof.kernels.costs import KernelCosts


@dataclass(frozen=True, slots=True)
class TimePrediction:
    """A predicted time, with a note where it is based on less than runs of the same series."""

    time: PredictedTime
    note: str = ""


def predicted_records(
    case: Case, samples: Sequence[Sample], machine: Machine | None = None
) -> list[Record]:
    """The records of a case's predicted time; none where there is nothing to predict it from.

    Args:
        case: the case that was not run.
        samples: of the same series: the same kernel on the same workload at other lengths.
        machine: the machine profile to use where there are no samples.
    """
    prediction = predict_case(case, samples, machine)
    if prediction is None:
        return []
    values = {
        PREDICTED_TIME: prediction.time.time_ns,
        PREDICTED_TIME_LOW: prediction.time.low_ns,
        PREDICTED_TIME_HIGH: prediction.time.high_ns,
    }
    return [
        Record(
            case.kernel,
            case.workload,
            quantity,
            value,
            detail=prediction.note if quantity == PREDICTED_TIME else "",
        )
        for quantity, value in values.items()
    ]


def with_predictions(records: Iterable[Record], machine: Machine) -> Iterator[Record]:
    """The records of an estimate; each supported case gets its predicted time on a machine."""
    for record in records:
        if record.quantity == CASE and record.status == "ok":
            yield from predicted_records(Case(record.kernel, record.workload), (), machine)
        yield record


def predict_case(
    case: Case, samples: Sequence[Sample], machine: Machine | None = None
) -> TimePrediction | None:
    """The time of a case, as `predict_with` has it of the kernel that its name finds.

    Args:
        case: the case to predict.
        samples: of the same series.
        machine: the machine profile to use where there are no samples.
    """
    return predict_with(kernels.find(case.kernel), case, samples, machine)


def predict_with(
    kernel: KernelCosts, case: Case, samples: Sequence[Sample], machine: Machine | None = None
) -> TimePrediction | None:
    """The time of a case from the closest evidence: its series, its kernel, the device's rates.

    Args:
        kernel: of the case.
        case: the case to predict.
        samples: of the same series.
        machine: the machine profile to use where there are no samples.

    Returns:
        None where there is nothing to predict it from, or where the work of the call is not known.
    """
    workload = case.workload
    # A custom kernel may have no count at this length, or may not run.
    with suppress(AttnprofError, RuntimeError, ValueError, TypeError):
        work = _Work(
            workload, kernel.executed_macs(workload), kernels.moved_bytes(kernel, workload)
        )
        prediction = work.from_samples(samples)
        if prediction is not None or machine is None or machine.device != workload.device:
            return prediction
        return work.from_machine(machine, case.kernel)
    return None


@dataclass(frozen=True, slots=True)
class _Work:
    """The work of one call."""

    workload: Workload
    executed_macs: int
    moved_bytes: int

    def from_samples(
        self, samples: Sequence[Sample], error: float = 0.0, note: str = ""
    ) -> TimePrediction | None:
        """From samples of the kernel, with the interval widened by their relative error."""
        time = predict_time(
            samples,
            seq_len=self.workload.seq_len,
            executed_macs=self.executed_macs,
            moved_bytes=self.moved_bytes,
        )
        return None if time is None else TimePrediction(widen_interval(time, error), note)

    def from_machine(self, machine: Machine, name: str) -> TimePrediction | None:
        """From a machine's samples of the kernel in the same mode, else from its rates."""
        workload = self.workload
        samples = [s for s in machine.samples_of(name) if s.mode == workload.mode]
        same_dtype = [s for s in samples if (s.dtype, s.scope) == (workload.dtype, workload.scope)]
        if same_dtype:
            return self.from_samples([s.sample for s in same_dtype])
        macs_per_s = machine.rates.matmul_macs_per_s.get(workload.dtype)
        bytes_per_s = machine.rates.copy_bytes_per_s
        if not macs_per_s or not bytes_per_s:
            return None
        converted = [_in_dtype(s, machine, workload) for s in samples]
        usable = [sample for sample in converted if sample]
        if usable:
            return self.from_samples(usable, CROSS_DTYPE_ERROR, _cross_dtype_note(samples))
        time = predict_from_rates(
            executed_macs=self.executed_macs,
            moved_bytes=self.moved_bytes,
            macs_per_s=macs_per_s,
            bytes_per_s=bytes_per_s,
        )
        low, high = (format_share(part, 1, digits=0) for part in (LOWEST_EFFICIENCY, 1))
        return TimePrediction(
            time,
            f"time predicted without a run in {workload.dtype}, {workload.mode}: assumes that the "
            f"kernel reaches {low} to {high} of the machine's throughput",
        )


def _in_dtype(measured: KernelSample, machine: Machine, workload: Workload) -> Sample | None:
    """A sample converted to the workload's dtype, at the same share of the machine's rates."""
    macs_per_s = machine.rates.matmul_macs_per_s
    own_rate, rate = macs_per_s.get(measured.dtype), macs_per_s.get(workload.dtype)
    sample, bytes_per_s = measured.sample, machine.rates.copy_bytes_per_s
    if not own_rate or not rate or not bytes_per_s:
        return None
    moved = sample.moved_bytes * DTYPE_BYTES[workload.dtype] // DTYPE_BYTES[measured.dtype]
    factor = roofline_ns(sample.executed_macs, moved, rate, bytes_per_s) / roofline_ns(
        sample.executed_macs, sample.moved_bytes, own_rate, bytes_per_s
    )
    return replace(
        sample,
        moved_bytes=moved,
        time_ns=round(sample.time_ns * factor),
        time_low_ns=round(sample.time_low_ns * factor),
        time_high_ns=round(sample.time_high_ns * factor),
    )


def _cross_dtype_note(samples: Sequence[KernelSample]) -> str:
    dtypes = " and ".join(dict.fromkeys(sample.dtype for sample in samples))
    scopes = " and ".join(dict.fromkeys(sample.scope for sample in samples))
    return f"time predicted from runs in {dtypes} (scope {scopes})"


def samples_of(
    records: Iterable[Record], case: Case, *, are_calm: bool = False
) -> tuple[Sample, ...]:
    """The measured times of a case's series, at whatever length, from records.

    Args:
        records: of any cases.
        case: a case of the series.
        are_calm: whether to leave out disturbed times even where there are no others.

    Returns:
        The undisturbed samples; without any, the disturbed ones, unless `are_calm`.
    """
    kernel = kernels.find(case.kernel)
    values_of: dict[Workload, dict[str, Value]] = {}
    for record in records:
        if record.kernel == case.kernel and record.value is not None:
            values_of.setdefault(record.workload, {})[record.quantity] = record.value
    samples = [
        (sample, bool(values.get(WITHHELD)))
        for workload, values in values_of.items()
        if _is_of_series(workload, case.workload)
        and (sample := sample_from(kernel, workload, values)) is not None
    ]
    calm = tuple(sample for sample, is_disturbed in samples if not is_disturbed)
    return calm if calm or are_calm else tuple(sample for sample, _ in samples)


def _is_of_series(workload: Workload, other: Workload) -> bool:
    """Whether two workloads differ in their length only."""
    longest = max(workload.seq_len, other.seq_len)
    return workload.at(longest) == other.at(longest)


def sample_from(
    kernel: KernelCosts, workload: Workload, values: Mapping[str, Value]
) -> Sample | None:
    """A sample from the recorded values of one case; None unless it was timed and counted."""
    if "time_ns" not in values or "executed_macs" not in values:
        return None
    with suppress(AttnprofError, RuntimeError, ValueError, TypeError):
        time_ns = int(values["time_ns"])
        return Sample(
            seq_len=workload.seq_len,
            executed_macs=int(values["executed_macs"]),
            moved_bytes=kernels.moved_bytes(kernel, workload),
            time_ns=time_ns,
            time_low_ns=int(values.get("time_low_ns", time_ns)),
            time_high_ns=int(values.get("time_high_ns", time_ns)),
        )
    return None
