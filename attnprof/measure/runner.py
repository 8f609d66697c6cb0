"""The only place where kernels, counters and meters meet.

What could take this process along runs in others: a case that dies, hangs or runs out of memory
there becomes a row, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from attnprof import kernels
from attnprof.analysis.predictions import predicted_records, samples_of
from attnprof.core import formulas
from attnprof.core.errors import FailedError, MeasurementError, UncountedError, describe_error
from attnprof.core.machine import Machine
from attnprof.core.records import (
    CASE,
    COMPILE,
    REFERENCE,
    RESERVED_PEAK,
    RESIDENT_PEAK,
    Record,
    Value,
    case_record,
    failure_record,
    missing_value_record,
)
from attnprof.core.units import format_count, format_duration
from attnprof.core.verdict import TARGET_RELATIVE_WIDTH
from attnprof.core.workload import Case, Workload
from attnprof.counting import counters
from attnprof.counting.counters import REFERENCE_COUNTER
from attnprof.isolation.outcome import Outcome
from attnprof.isolation.system_memory import available_bytes
from attnprof.isolation.workers import Worker, Workers
from attnprof.kernels import Kernel
from attnprof.kernels.custom import is_target
from attnprof.measure import Observer, worker_tasks
from attnprof.measure.feasibility import feasibility
from attnprof.measure.slow_cases import SlowCases
from attnprof.measure.timing import time_interleaved

ResumedRecords = Mapping[Case, Sequence[Record]]
"""What has been measured before, by case, and need not be measured again."""

_TIMING_FROM = 0.5
"""Counting and memory are taken for the first half of a length's work, for the progress display."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What to measure beside the closed forms.

    Attributes:
        count: MACs, by every counter.
        time: wall time.
        memory: peak memory.
        max_seconds: for the timed rounds of one length, all kernels together.
        precision: width of the intervals, as a part of the median, that ends the rounds earlier.
        timeout: seconds after which a count, a measurement of memory or a single timed call is
            given up.
        allow_slow: whether cases run that are predicted to be far past `max_seconds`.
        check_against: what the output of the user's own is compared with, as `pkg.mod:name`; None
            for nothing. Built-in kernels are compared with their pattern's definition before their
            time or memory is measured.
    """

    count: bool = True
    time: bool = True
    memory: bool = True
    max_seconds: float = 15.0
    precision: float = TARGET_RELATIVE_WIDTH
    timeout: float = 600.0
    allow_slow: bool = False
    check_against: str | None = None


def _ignore(activity: str, done: float) -> None:
    """Observes nothing."""


def estimate(cases: Iterable[Case]) -> Iterator[Record]:
    """Closed forms only: needs neither torch nor memory, whatever the length.

    What is the user's own has none: it is counted without numbers, for which torch is loaded.
    """
    for case in cases:
        try:
            yield from _closed_forms(case)
        except Exception as error:
            yield failure_record(case, error)
            continue
        reason = kernels.find(case.kernel).unsupported_reason(case.workload)
        yield case_record(case, "unsupported" if reason else "ok", reason or "")


def measure(
    cases: Sequence[Case],
    measurements: Measurements,
    workers: Workers,
    observe: Observer = _ignore,
    earlier: ResumedRecords | None = None,
    machine: Machine | None = None,
) -> Iterator[Record]:
    """Closed forms, counts, memory and time, length by length; records come as they are taken.

    A case that cannot be run has a status and a reason; the others go on.

    Args:
        cases: what to measure, in ascending lengths.
        measurements: what of it.
        workers: make the processes that it is done in.
        observe: told how far it is.
        earlier: records that are told again and not taken again.
        machine: has times for predictions where no shorter length of a series ran.
    """
    seen = 0
    taken: list[Record] = []
    slow = SlowCases(
        measurements.max_seconds,
        workers,
        measurements.timeout,
        machine,
        is_allowed=measurements.allow_slow,
    )
    for seq_len, group in groupby(cases, key=lambda case: case.workload.seq_len):
        here = list(group)
        begin, share = seen / len(cases), len(here) / len(cases)
        step = _ProgressScope(f"{format_count(seq_len)} tokens", observe, begin, share)
        length = _LengthRun(here, measurements, workers, step, earlier or {}, machine, taken, slow)
        for record in length.records():
            taken.append(record)
            yield record
        seen += len(here)
    observe("done", 1.0)


@dataclass(frozen=True, slots=True)
class _ProgressScope:
    """Tells the observer how far one length is, whose work has a share of all of it."""

    length: str
    observe: Observer
    begin: float
    share: float

    def __call__(self, activity: str, part: float) -> None:
        self.observe(f"{self.length}: {activity}", self.begin + self.share * part)


@dataclass(slots=True)
class _LengthRun:
    """The work on the cases of one length; `records_so_far` are those of all before it."""

    cases: Sequence[Case]
    measurements: Measurements
    workers: Workers
    step: _ProgressScope
    earlier: ResumedRecords
    machine: Machine | None
    records_so_far: Sequence[Record]
    slow: SlowCases

    def records(self) -> Iterator[Record]:
        """All of it."""
        running: list[Case] = []
        yield from self._start_cases(running)
        alive: list[Case] = []
        for index, case in enumerate(running):
            try:
                yield from self._measure_isolated(case, _TIMING_FROM * index / len(running))
                alive.append(case)
            except FailedError as error:
                yield failure_record(case, error)
        if self.measurements.time and alive:
            yield from time_interleaved(
                alive,
                self.workers,
                max_seconds=self.measurements.max_seconds,
                precision=self.measurements.precision,
                timeout=self.measurements.timeout,
                note=self._unpaired_note(alive),
                on_round=lambda spent: self.step(
                    f"timing {len(alive)} kernels in turn",
                    _TIMING_FROM + (1 - _TIMING_FROM) * spent,
                ),
            )
        else:
            for case in alive:
                yield case_record(case, "ok", "")

    def _start_cases(self, running: list[Case]) -> Iterator[Record]:
        """What is known without running anything, and which cases are to be run."""
        static_bytes = 0
        available: int | None = None
        for case in self.cases:
            known = self.earlier.get(case, ())
            yield from known
            if any(record.quantity == CASE for record in known):
                continue
            try:
                yield from _closed_forms(case)
                if case.workload.device == "cuda" and available is None:
                    available = self._available_bytes(case.workload)
                # Timed in turn, all cases of a length live at the same time.
                status, reason = feasibility(case, static_bytes, available)
                if status == "ok" and (reason := self.slow.reason(case, self.records_so_far)):
                    status = "skipped"
            except Exception as error:
                yield failure_record(case, error)
                continue
            if status == "ok":
                running.append(case)
                static_bytes += kernels.find(case.kernel).static_bytes(case.workload)
                continue
            if status == "skipped":
                yield from predicted_records(
                    case, samples_of(self.records_so_far, case), self.machine
                )
            yield case_record(case, status, reason)

    def _unpaired_note(self, alive: Sequence[Case]) -> str:
        """Why there is no speed, where what it is against has been timed before."""
        names = {case.kernel for case in self.cases} - {case.kernel for case in alive}
        was_timed = any(
            record.quantity == "time_ns" and record.kernel == REFERENCE
            for case in self.cases
            for record in self.earlier.get(case, ())
        )
        if REFERENCE not in names or not was_timed:
            return ""
        return f"no speed: {REFERENCE} was timed in an earlier run, and rounds pair those of one"

    def _available_bytes(self, workload: Workload) -> int:
        """What only a process that has begun to use the device can tell."""
        timeout = self.measurements.timeout
        return self.workers.run(available_bytes, workload.device, max_seconds=timeout).result

    def _measure_isolated(self, case: Case, part: float) -> Iterator[Record]:
        """What needs no other case, in a process of its own.

        Raises:
            FailedError: when nothing more of the case can be measured.
        """
        wanted, known = self.measurements, {r.quantity for r in self.earlier.get(case, ())}
        worker = self.workers.worker()
        try:
            needs_compilation = kernels.find(case.kernel).needs_compilation and COMPILE not in known
            if needs_compilation and (wanted.time or wanted.memory):
                self.step(f"compiling {case.kernel}", part)
                yield _compiled(case, self._call(worker, worker_tasks.compile_ns, case))
            self._check_output(case, part)
            # Before anything else has run there: the process's own memory is looked at as well.
            if wanted.memory and "peak_bytes" not in known:
                self.step(f"memory of {case.kernel}", part)
                yield from _peak_memory(case, self._call(worker, worker_tasks.peak_memory, case))
            for name in counters.names() if wanted.count else ():
                if counters.quantity(name) not in known:
                    self.step(f"counting {case.kernel} with {name}", part)
                    yield _counted(
                        case, name, self._call(worker, worker_tasks.count_with, case, name)
                    )
        finally:
            worker.close()

    def _check_output(self, case: Case, part: float) -> None:
        """In a process of its own: fresh memory is filled there, and all else slower for it.

        Raises:
            FailedError: when it is wrong, or cannot be had.
        """
        wanted = self.measurements
        is_own = kernels.is_custom(case.kernel)
        reference = wanted.check_against if is_own else None
        if not (reference if is_own else wanted.memory or wanted.time):
            return
        self.step(f"checking the output of {case.kernel}", part)
        outcome = self.workers.run(
            worker_tasks.wrong_output, case, reference, max_seconds=wanted.timeout
        )
        if outcome.status != "ok":
            raise FailedError(f"{outcome.failure} while its output was checked", outcome.status)
        if outcome.value:
            raise FailedError(outcome.value, "wrong")

    def _call(self, worker: Worker, function: Callable[..., Any], *args: Any) -> Outcome:
        return worker.call(function, *args, max_seconds=self.measurements.timeout)


def _compiled(case: Case, outcome: Outcome) -> Record:
    """How long compiling took."""
    if outcome.status != "ok":
        raise FailedError(f"{outcome.failure} while it was compiled", outcome.status)
    detail = f"compiled in {format_duration(outcome.value)}, which is no part of its time"
    return Record(case.kernel, case.workload, COMPILE, outcome.value, detail=detail)


def _counted(case: Case, counter: str, outcome: Outcome) -> Record:
    """A count, or an empty cell and the reason: a counter may fail where the kernel does not."""
    quantity = counters.quantity(counter)
    if outcome.status == "ok":
        return Record(case.kernel, case.workload, quantity, outcome.value)
    is_kernels = counter == REFERENCE_COUNTER and not isinstance(outcome.error, MeasurementError)
    if is_kernels or outcome.worker_died or outcome.status == "oom":
        raise FailedError(f"{outcome.failure} while {counter} counted it", outcome.status)
    return missing_value_record(case, quantity, outcome.failure)


def _peak_memory(case: Case, outcome: Outcome) -> Iterator[Record]:
    """The peaks, or an empty cell and the reason."""
    if isinstance(outcome.error, MeasurementError):
        yield missing_value_record(case, "peak_bytes", outcome.failure)
        return
    if outcome.status != "ok":
        raise FailedError(f"{outcome.failure} while its memory was measured", outcome.status)
    peaks = {
        RESIDENT_PEAK: outcome.value.resident_peak_bytes,
        RESERVED_PEAK: outcome.value.reserved_peak_bytes,
        "peak_bytes": outcome.value.peak_bytes,
    }
    for quantity, value in peaks.items():
        if value is not None:
            yield Record(case.kernel, case.workload, quantity, value)


def _closed_forms(case: Case) -> Iterator[Record]:
    """What is known without running anything; of the user's own, what it raises."""
    kernel, workload = kernels.find(case.kernel), case.workload
    if kernel.pattern_support == "custom":
        yield from _counts_of_custom(case, kernel)
        return
    values: dict[str, Value] = {"useful_macs": formulas.useful_macs(workload)}
    if kernel.unsupported_reason(workload) is None:
        values |= {
            "padded_seq_len": kernels.padded_seq_len(kernel, workload),
            "params": kernel.parameters(workload),
            "executed_macs": kernel.executed_macs(workload),
            "predicted_peak_bytes": kernel.peak_bytes(workload),
        }
    for quantity, value in values.items():
        yield Record(case.kernel, workload, quantity, value)


def _counts_of_custom(case: Case, kernel: Kernel) -> Iterator[Record]:
    """What a run without numbers tells of the user's own."""
    workload = case.workload
    if kernel.unsupported_reason(workload) is not None:
        return
    quantities: dict[str, Callable[[Workload], int]] = {
        "padded_seq_len": lambda workload: kernels.padded_seq_len(kernel, workload),
        "params": kernel.parameters,
        "executed_macs": kernel.executed_macs,
        "predicted_peak_bytes": kernel.peak_bytes,
    }
    notes = "; ".join(kernel.notes(workload)) if is_target(kernel) else ""
    for quantity, take in quantities.items():
        detail = notes if quantity == "params" else ""
        try:
            yield Record(case.kernel, workload, quantity, take(workload), detail=detail)
        except UncountedError as error:
            yield missing_value_record(case, quantity, describe_error(error))
        except MeasurementError as error:
            if quantity != "predicted_peak_bytes":
                raise
            yield missing_value_record(case, quantity, describe_error(error))
