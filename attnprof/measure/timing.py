"""Times the cases of one length in interleaved rounds, and turns the result into records."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from attnprof.core.errors import FailedError
from attnprof.core.intervals import median_interval, paired_ratio
from attnprof.core.records import (
    RATIO,
    REFERENCE,
    ROUNDS,
    WINDOWED_REFERENCE,
    WITHHELD,
    Record,
    Value,
    case_record,
    failure_record,
    is_reference_of,
)
from attnprof.core.units import counted, format_percent
from attnprof.core.workload import Case
from attnprof.isolation.outcome import Outcome
from attnprof.isolation.workers import Worker, Workers
from attnprof.measure import rate_probes, system_load, worker_tasks
from attnprof.measure.busy_processes import snapshot
from attnprof.measure.disturbance import (
    Disturbance,
    Surroundings,
    Timed,
    describe_disturbance_of,
)
from attnprof.measure.rate_probes import RateProbes
from attnprof.measure.system_load import CpuTimes

if TYPE_CHECKING:
    from attnprof.core.workload import Device, DType
    from attnprof.measure.rounds import MeasuredRounds, OnRound

NOISY = 0.2
"""An interval wider than this fraction of its median is reported as uncertain."""


class TimingSession:
    """Cases that are built in one worker process and called in rounds.

    If the process dies, another one takes over and builds the cases again.

    Args:
        workers: start the processes.
        max_seconds: time limit for one call, and for building one case.
    """

    def __init__(self, workers: Workers, max_seconds: float) -> None:
        self._workers = workers
        self._max_seconds = max_seconds
        self._worker: Worker | None = None
        self._built: set[Case] = set()
        self._rebuilt = False
        self._excluded_seconds = 0.0
        self._processes = snapshot()

    def clock(self) -> float:
        """Seconds on a monotonic clock, without the time of building and of failed calls."""
        return time.monotonic() - self._excluded_seconds

    def timed(self, case: Case) -> Timed:
        """Time one call of a case, which is built first if needed.

        Raises:
            FailedError: when it cannot be built or called.
        """
        start = time.monotonic()
        try:
            self._build(case)
            start = time.monotonic()
            return self._run_task(worker_tasks.timed, case)
        except FailedError:
            self._excluded_seconds += time.monotonic() - start
            raise

    def _build(self, case: Case) -> None:
        if case in self._built:
            return
        start = time.monotonic()
        self._run_task(worker_tasks.build, case)
        self._built.add(case)
        if self._rebuilt:  # it was warmed up in the process that died
            self._run_task(worker_tasks.timed, case)
        self._excluded_seconds += time.monotonic() - start

    def clock_note(self) -> str:
        """What a reader should know about the GPU's clocks; empty if there is nothing."""
        return self._query(worker_tasks.clock_note).value or ""

    def sample_rates(self, dtype: DType, device: Device) -> Outcome:
        """The machine's rates at this moment, measured in the cases' process."""
        if self._worker is None:
            return Outcome(failure="no case was running", status="error")
        start = time.monotonic()
        outcome = self._query(rate_probes.sample_rates, dtype, device)
        self._excluded_seconds += time.monotonic() - start
        return outcome

    def surroundings(self) -> Surroundings:
        """Readings of the rest of the machine; may be called before any case is built."""
        return Surroundings(self._load, self._threads, system_load.cores_within_quota())

    def explain(self, disturbance: Disturbance) -> str:
        """What disturbed the rounds and what helps; empty if few were disturbed."""
        return describe_disturbance_of(disturbance, self._threads, self._processes)

    def _load(self) -> CpuTimes:
        """The load without the work of the cases' process, which may be this one."""
        default = (os.getpid(), 0.0)
        pid, seconds = self._query(system_load.own_cpu_seconds).value or default
        is_here = pid == os.getpid()
        return system_load.cpu_times(system_load.child_cpu_seconds() if is_here else seconds)

    def _threads(self) -> int:
        return self._query(worker_tasks.threads).value or 1

    def _query(self, function: Callable[..., Any], *args: Any) -> Outcome:
        """Call a function in the cases' process; an empty outcome if there is no process."""
        if self._worker is None:
            return Outcome()
        outcome = self._worker.call(function, *args, max_seconds=self._max_seconds)
        if outcome.worker_died:
            self._forget_worker()
        return outcome

    def _forget_worker(self) -> None:
        """The process has died: the next one has to build the cases again."""
        if self._worker is not None:
            self._worker.close()
        self._worker, self._rebuilt = None, True
        self._built.clear()

    def close(self) -> None:
        """End the process and free what was built."""
        if self._worker is not None:
            self._worker.close()
        self._worker = None
        worker_tasks.clear()
        rate_probes.clear()

    def _run_task(self, task: Callable[[Case], Timed | None], case: Case) -> Timed:
        """Run a task in the cases' process, which is started if needed.

        Raises:
            FailedError: when the task fails or the process dies.
        """
        if self._worker is None:
            self._worker = self._workers.worker()
        outcome = self._worker.call(task, case, max_seconds=self._max_seconds)
        if outcome.worker_died:
            self._forget_worker()
        if outcome.status != "ok":
            raise FailedError(f"{outcome.failure} while it was timed", outcome.status)
        return outcome.value or Timed(0)


def time_interleaved(
    cases: Sequence[Case],
    workers: Workers,
    *,
    max_seconds: float,
    precision: float,
    timeout: float,
    has_rates: bool,
    note: str,
    on_round: OnRound,
) -> Iterator[Record]:
    """Time the cases of one length; yields times, ratios of paired rounds and a final status.

    Args:
        cases: what to time.
        workers: start the processes.
        max_seconds: budget for the rounds of all cases together.
        precision: width of the intervals, as a fraction of the median, that ends the rounds early.
        timeout: seconds allowed for one call.
        has_rates: whether to measure the machine's rates between the rounds.
        note: added to the detail of every case.
        on_round: called after each round with the number of rounds and the fraction done.
    """
    session = TimingSession(workers, timeout)
    device = cases[0].workload.device
    dtypes: dict[DType, None] = dict.fromkeys(case.workload.dtype for case in cases if has_rates)
    probes = RateProbes(lambda dtype: session.sample_rates(dtype, device), tuple(dtypes))

    def after_round(rounds: int, part: float) -> None:
        probes.after_round()
        on_round(rounds, part)

    try:
        measured = _measure(session, cases, max_seconds, precision, after_round)
        disturbed = session.explain(measured.disturbance)
        clock_note = session.clock_note()
    finally:
        session.close()
    for case, error in measured.failures.items():
        yield failure_record(case, error)
    notes = [disturbed, note, clock_note]
    if measured.disturbance.is_withheld:
        notes = [note, clock_note]  # the record of the withheld verdict has the reason
    for case in measured.times:
        if has_rates:
            yield from probes.records(case)
        yield from _records_of(case, measured, disturbed, notes)


def _measure(
    session: TimingSession,
    cases: Sequence[Case],
    max_seconds: float,
    precision: float,
    on_round: OnRound,
) -> MeasuredRounds[Case]:
    from attnprof.measure.rounds import Budget, measure_rounds

    return measure_rounds(
        {case: partial(session.timed, case) for case in cases},
        _run_self_timed,
        Budget(max_seconds, session.clock),
        on_round=on_round,
        precision=precision,
        reference=_reference_of(cases),
        surroundings=session.surroundings(),
    )


def _records_of(
    case: Case, measured: MeasuredRounds[Case], disturbed: str, notes: Sequence[str]
) -> Iterator[Record]:
    """The records of one timed case.

    Args:
        case: that was timed.
        measured: times of all cases.
        disturbed: why the verdict is withheld, if it is.
        notes: for the detail of the case; empty ones are dropped.
    """
    samples = measured.times[case]
    interval = median_interval(samples)
    is_withheld = measured.disturbance.is_withheld
    values: dict[str, Value] = {
        "time_ns": round(interval.median),
        "time_low_ns": round(interval.low),
        "time_high_ns": round(interval.high),
        ROUNDS: len(samples),
    }
    if not is_withheld:
        values.update(_ratios(case, measured.times))
    for quantity, value in values.items():
        yield Record(case.kernel, case.workload, quantity, value)
    reason = disturbed if is_withheld else ""
    yield Record(case.kernel, case.workload, WITHHELD, int(is_withheld), detail=reason)
    noise = "" if is_withheld else _noise(interval.relative_width, len(samples))
    yield case_record(case, "ok", "; ".join(text for text in (noise, *notes) if text))


def _ratios(case: Case, times: Mapping[Case, Sequence[int]]) -> Iterator[tuple[str, Value]]:
    """Ratios of paired rounds, to each case of the same length and size that is a reference."""
    for reference, reference_samples in times.items():
        if not is_reference_of(reference, case.workload):
            continue
        ratio = paired_ratio(times[case], reference_samples)
        yield f"{RATIO}:{reference.kernel}", ratio.median
        yield f"{RATIO}_low:{reference.kernel}", ratio.low
        yield f"{RATIO}_high:{reference.kernel}", ratio.high
        if reference.kernel == REFERENCE:
            yield "speedup", round(paired_ratio(reference_samples, times[case]).median, 4)


def _reference_of(cases: Sequence[Case]) -> Case | None:
    """The case to whose time others are compared; None without one."""
    for kernel in (REFERENCE, WINDOWED_REFERENCE):
        for case in cases:
            if case.kernel == kernel:
                return case
    return None


def _run_self_timed(run: Callable[[], object]) -> Timed:
    """A timer for calls of a session, which return their own time."""
    return cast("Timed", run())


def _noise(relative_width: float, rounds: int) -> str:
    if relative_width <= NOISY:
        return ""
    return (
        f"timing uncertain (±{format_percent(relative_width / 2)}, "
        f"{counted(rounds, 'round')}): "
        "close other programs or raise --max-seconds"
    )
