"""Predicted time of cases: from the lengths of their series that ran, or from a stored machine."""

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
from attnprof.kernels import Kernel


@dataclass(frozen=True, slots=True)
class TimePrediction:
    """A predicted time, and what it stands on where that is less than runs of the same kernel."""

    time: PredictedTime
    note: str = ""


def predicted_records(
    case: Case, samples: Sequence[Sample], machine: Machine | None = None
) -> list[Record]:
    """The records of a case's predicted time; none where nothing tells it.

    Args:
        case: what was not run.
        samples: of the same series: the same kernel, and the same workload but for the length.
        machine: what else is known of times, used where there are no samples.
    """
    forecast = predict_case(case, samples, machine)
    if forecast is None:
        return []
    values = {
        PREDICTED_TIME: forecast.time.time_ns,
        PREDICTED_TIME_LOW: forecast.time.low_ns,
        PREDICTED_TIME_HIGH: forecast.time.high_ns,
    }
    return [
        Record(
            case.kernel,
            case.workload,
            quantity,
            value,
            detail=forecast.note if quantity == PREDICTED_TIME else "",
        )
        for quantity, value in values.items()
    ]


def with_predictions(records: Iterable[Record], machine: Machine) -> Iterator[Record]:
    """The records of an estimate, each case that a kernel takes with its time on a machine."""
    for record in records:
        if record.quantity == CASE and record.status == "ok":
            yield from predicted_records(Case(record.kernel, record.workload), (), machine)
        yield record


def predict_case(
    case: Case, samples: Sequence[Sample], machine: Machine | None = None
) -> TimePrediction | None:
    """The time of a case, by what is nearest to it: its series, its kernel, the device's rates."""
    kernel, workload = kernels.find(case.kernel), case.workload
    # What is the user's own may have no count at this length, or may not run.
    with suppress(AttnprofError, RuntimeError, ValueError, TypeError):
        work = _Work(
            workload, kernel.executed_macs(workload), kernels.moved_bytes(kernel, workload)
        )
        forecast = work.predicted(samples)
        if forecast is not None or machine is None or machine.device != workload.device:
            return forecast
        return work.from_machine(machine, case.kernel)
    return None


@dataclass(frozen=True, slots=True)
class _Work:
    """What a call does."""

    workload: Workload
    executed_macs: int
    moved_bytes: int

    def predicted(
        self, samples: Sequence[Sample], error: float = 0.0, note: str = ""
    ) -> TimePrediction | None:
        """From samples of the kernel, with an interval wider by an error of theirs."""
        time = predict_time(
            samples,
            seq_len=self.workload.seq_len,
            executed_macs=self.executed_macs,
            moved_bytes=self.moved_bytes,
        )
        return None if time is None else TimePrediction(widen_interval(time, error), note)

    def from_machine(self, machine: Machine, name: str) -> TimePrediction | None:
        """From a machine's samples of the kernel, else from its rates."""
        here = self.workload
        alike = [one for one in machine.samples_of(name) if one.mode == here.mode]
        exact = [one for one in alike if (one.dtype, one.scope) == (here.dtype, here.scope)]
        if exact:
            return self.predicted([one.sample for one in exact])
        rate, copied = (
            machine.rates.matmul_macs_per_s.get(here.dtype),
            machine.rates.copy_bytes_per_s,
        )
        if not rate or not copied:
            return None
        borrowed = [one for one in (_in_dtype(one, machine, here) for one in alike) if one]
        if borrowed:
            return self.predicted(borrowed, CROSS_DTYPE_ERROR, _borrowed_note(alike))
        time = predict_from_rates(
            executed_macs=self.executed_macs,
            moved_bytes=self.moved_bytes,
            macs_per_s=rate,
            bytes_per_s=copied,
        )
        return TimePrediction(
            time,
            f"its time is predicted without a run in {here.dtype} and {here.mode}: the kernel is "
            f"taken to reach between {format_share(LOWEST_EFFICIENCY, 1)} and "
            f"{format_share(1, 1)} of the machine's rates",
        )


def _in_dtype(one: KernelSample, machine: Machine, workload: Workload) -> Sample | None:
    """A sample as it would be in the workload's dtype, at the same share of the machine's rates."""
    rates = machine.rates.matmul_macs_per_s
    own, wanted = rates.get(one.dtype), rates.get(workload.dtype)
    sample, copied = one.sample, machine.rates.copy_bytes_per_s
    if not own or not wanted or not copied:
        return None
    moved = sample.moved_bytes * DTYPE_BYTES[workload.dtype] // DTYPE_BYTES[one.dtype]
    factor = roofline_ns(sample.executed_macs, moved, wanted, copied) / roofline_ns(
        sample.executed_macs, sample.moved_bytes, own, copied
    )
    return replace(
        sample,
        moved_bytes=moved,
        time_ns=round(sample.time_ns * factor),
        time_low_ns=round(sample.time_low_ns * factor),
        time_high_ns=round(sample.time_high_ns * factor),
    )


def _borrowed_note(alike: Sequence[KernelSample]) -> str:
    dtypes = " and ".join(dict.fromkeys(one.dtype for one in alike))
    scopes = " and ".join(dict.fromkeys(one.scope for one in alike))
    return f"its time is predicted from runs in {dtypes} (scope {scopes})"


def samples_of(
    records: Iterable[Record], case: Case, *, are_calm: bool = False
) -> tuple[Sample, ...]:
    """What ran of a case's series, at whatever length, from the records that there are.

    Args:
        records: of any cases.
        case: whose series it is.
        are_calm: whether times that something else disturbed are left out even where there are no
            others.
    """
    found: dict[Workload, dict[str, Value]] = {}
    for record in records:
        if record.kernel == case.kernel and record.value is not None:
            found.setdefault(record.workload, {})[record.quantity] = record.value
    samples = [
        (sample, bool(values.get(WITHHELD)))
        for workload, values in found.items()
        if _is_of_series(workload, case.workload)
        and (sample := sample_from(case.kernel, workload, values)) is not None
    ]
    calm = tuple(sample for sample, is_disturbed in samples if not is_disturbed)
    return calm if calm or are_calm else tuple(sample for sample, _ in samples)


def _is_of_series(workload: Workload, other: Workload) -> bool:
    longest = max(workload.seq_len, other.seq_len)
    return workload.at(longest) == other.at(longest)


def sample_from(name: str, workload: Workload, values: Mapping[str, Value]) -> Sample | None:
    """A sample from what was recorded of one case; None where it was not timed or counted."""
    kernel: Kernel = kernels.find(name)
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
