"""Times the cases of one length in turn, and writes down what came of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

from attnprof.core.errors import FailedError
from attnprof.core.intervals import median_interval, paired_ratio
from attnprof.core.records import (
    RATIO,
    REFERENCE,
    ROUNDS,
    WITHHELD,
    Record,
    Value,
    case_record,
    failure_record,
)
from attnprof.core.workload import Case
from attnprof.isolation.outcome import Outcome
from attnprof.isolation.workers import Worker, Workers
from attnprof.measure import system_load, worker_tasks
from attnprof.measure.busy_processes import snapshot
from attnprof.measure.disturbance import Disturbance, Environs, Timed, describe_disturbance_of
from attnprof.measure.system_load import CpuTimes

NOISY = 0.2
"""An interval wider than this part of its median is called noisy."""


class TimingSession:
    """Cases that are built in one process and called in turn; where it is lost, another goes on.

    Args:
        workers: make the processes.
        max_seconds: for one call, and for building one case.
    """

    def __init__(self, workers: Workers, max_seconds: float) -> None:
        self._workers = workers
        self._max_seconds = max_seconds
        self._worker: Worker | None = None
        self._built: set[Case] = set()
        self._rebuilt = False
        self._lost_seconds = 0.0
        self._processes = snapshot()

    def clock(self) -> float:
        """Seconds, without those that building and what failed have taken from the others."""
        return time.monotonic() - self._lost_seconds

    def timed(self, case: Case) -> Timed:
        """One call of a case, which is built where it has not been.

        Raises:
            FailedError: when it cannot be built or called.
        """
        begun = time.monotonic()
        try:
            self._build(case)
            begun = time.monotonic()
            return self._do(worker_tasks.timed, case)
        except FailedError:
            self._lost_seconds += time.monotonic() - begun
            raise

    def _build(self, case: Case) -> None:
        if case in self._built:
            return
        begun = time.monotonic()
        self._do(worker_tasks.build, case)
        self._built.add(case)
        if self._rebuilt:  # it has been warmed up in a process that is lost
            self._do(worker_tasks.timed, case)
        self._lost_seconds += time.monotonic() - begun

    def note(self) -> str:
        """What is to be known of the device's clocks; empty where nothing is."""
        return self._asked(worker_tasks.clock_note).value or ""

    def surroundings(self) -> Environs:
        """What else the machine does while cases are timed; asked before any has been built."""
        return Environs(self._load, self._threads, system_load.cores_within_quota())

    def explained(self, seen: Disturbance) -> str:
        """What disturbed rounds, and what helps; empty where little did."""
        return describe_disturbance_of(seen, self._threads, self._processes)

    def _load(self) -> CpuTimes:
        """Without the work of the cases' own process, whichever that is."""
        process, seconds = self._asked(system_load.own_seconds).value or (os.getpid(), 0.0)
        is_here = process == os.getpid()
        return system_load.cpu_times(system_load.started_seconds() if is_here else seconds)

    def _threads(self) -> int:
        return self._asked(worker_tasks.threads).value or 1

    def _asked(self, function: Callable[[], Any]) -> Outcome:
        """What the cases' process says of itself; nothing where there is none."""
        if self._worker is None:
            return Outcome()
        outcome = self._worker.call(function, max_seconds=self._max_seconds)
        if outcome.worker_died:
            self._forget()
        return outcome

    def _forget(self) -> None:
        """The process is lost: another will have to build anew."""
        if self._worker is not None:
            self._worker.close()
        self._worker, self._rebuilt = None, True
        self._built.clear()

    def close(self) -> None:
        """Keep nothing any longer."""
        if self._worker is not None:
            self._worker.close()
        self._worker = None
        worker_tasks.clear()

    def _do(self, step: Callable[[Case], Timed | None], case: Case) -> Timed:
        if self._worker is None:
            self._worker = self._workers.worker()
        outcome = self._worker.call(step, case, max_seconds=self._max_seconds)
        if outcome.worker_died:
            self._forget()
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
    note: str,
    on_round: Callable[[float], None],
) -> Iterator[Record]:
    """Time, and ratios of paired rounds, of cases that run at one length; each case is closed.

    Args:
        cases: what to time.
        workers: make the processes.
        max_seconds: for the rounds of all together.
        precision: width of the intervals, as a part of the median, that ends the rounds earlier.
        timeout: seconds, for one call.
        note: what is to be known of all of them.
        on_round: told the part of the time that is spent.
    """
    from attnprof.measure.rounds import Budget, measure_rounds

    bench = TimingSession(workers, timeout)
    try:
        measured = measure_rounds(
            {case: partial(bench.timed, case) for case in cases},
            _run_self_timed,
            Budget(max_seconds, bench.clock),
            on_round=on_round,
            precision=precision,
            reference=next((case for case in cases if case.kernel == REFERENCE), None),
            surroundings=bench.surroundings(),
        )
        seen = measured.disturbance
        disturbed = bench.explained(seen)
        notes = [*[disturbed] * (not seen.is_withheld), note, bench.note()]
    finally:
        bench.close()
    for case, error in measured.failures.items():
        yield failure_record(case, error)
    for case, samples in measured.times.items():
        interval = median_interval(samples)
        values: dict[str, Value] = {
            "time_ns": round(interval.median),
            "time_low_ns": round(interval.low),
            "time_high_ns": round(interval.high),
            ROUNDS: len(samples),
            **dict(() if seen.is_withheld else _ratios(case, measured.times)),
        }
        for quantity, value in values.items():
            yield Record(case.kernel, case.workload, quantity, value)
        reason = disturbed * seen.is_withheld
        yield Record(case.kernel, case.workload, WITHHELD, int(seen.is_withheld), detail=reason)
        noise = "" if seen.is_withheld else _noise(interval.relative_width, len(samples))
        yield case_record(case, "ok", "; ".join(text for text in (noise, *notes) if text))


def _ratios(case: Case, times: Mapping[Case, Sequence[int]]) -> Iterator[tuple[str, Value]]:
    """Of paired rounds, to each case that has the same length and size."""
    for other, others_samples in times.items():
        if other.workload != case.workload.densified():
            continue
        ratio = paired_ratio(times[case], others_samples)
        yield f"{RATIO}:{other.kernel}", ratio.median
        yield f"{RATIO}_low:{other.kernel}", ratio.low
        yield f"{RATIO}_high:{other.kernel}", ratio.high
        if other.kernel == REFERENCE:
            yield "speedup", round(paired_ratio(others_samples, times[case]).median, 4)


def _run_self_timed(run: Callable[[], object]) -> Timed:
    """A bench tells the time of a call itself."""
    return cast("Timed", run())


def _noise(relative_width: float, rounds: int) -> str:
    if relative_width <= NOISY:
        return ""
    return (
        f"time is noisy: its 99 % interval spans {100 * relative_width:.0f} % of the median of "
        f"{rounds} rounds; raise --max-seconds or quieten the machine"
    )
