"""Measures groups of cases, one after the other: counts, peak memory and time of real kernels.

Everything that could end this process runs in worker processes: a case that dies, hangs or runs
out of memory there becomes a row, and the other cases continue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from attnprof import kernels
from attnprof.analysis.predictions import predicted_records, samples_of
from attnprof.analysis.utilisation import with_rates_of, with_utilisation
from attnprof.core.errors import FailedError
from attnprof.core.machine import Machine
from attnprof.core.records import (
    CASE,
    REFERENCE,
    Record,
    case_record,
    failure_record,
)
from attnprof.core.units import format_count
from attnprof.core.workload import Case, Workload
from attnprof.isolation.system_memory import available_bytes
from attnprof.isolation.workers import Workers
from attnprof.measure import Observer, rate_probes
from attnprof.measure.feasibility import feasibility
from attnprof.measure.single_case import MeasureSettings, measure_alone
from attnprof.measure.slow_cases import SlowCases
from attnprof.measure.static_costs import closed_form_records
from attnprof.measure.time_plan import TimePlan
from attnprof.measure.timing import time_interleaved

ResumedRecords = Mapping[Case, Sequence[Record]]
"""Records of an earlier run, by case, that need not be measured again."""


def _ignore(activity: str, done: float) -> None:
    """An observer that does nothing."""


def measure(
    groups: Sequence[Sequence[Case]],
    measurements: MeasureSettings,
    workers: Workers,
    observe: Observer = _ignore,
    earlier: ResumedRecords | None = None,
    machine: Machine | None = None,
    shorter: Sequence[Record] = (),
) -> Iterator[Record]:
    """Closed forms, counts, memory and time, group by group; records are yielded as they come.

    A case that cannot be run gets a status and a reason; the others continue.

    Args:
        groups: what to measure: the cases of a group have one length and are timed in the same
            rounds. Shorter lengths come first, so that their times predict longer ones.
        measurements: what to measure of each case.
        workers: start the processes that do the work.
        observe: called with the current activity and the fraction of all work done.
        earlier: records of an earlier run, which are yielded again instead of measured again.
        machine: stored machine whose times predict cases for which no shorter length of the same
            series was timed; utilisations are of its rates instead of those measured in this run.
        shorter: records of shorter lengths that this machine has measured in another call; they
            predict times, and are not yielded.
    """
    observe("starting", 0.0)
    plan = TimePlan(groups, measurements.max_seconds if measurements.time else 0.0)
    records_so_far = list(shorter)
    slow = SlowCases(
        measurements.max_seconds,
        workers,
        measurements.timeout,
        machine,
        is_allowed=measurements.allow_slow,
    )
    for group in groups:
        group_run = _GroupRun(
            group,
            measurements,
            workers,
            _ProgressScope(group[0].workload.seq_len, observe, plan),
            earlier or {},
            machine,
            records_so_far,
            slow,
        )
        for record in _with_limits(group_run.records(), machine):
            records_so_far.append(record)
            yield record
    observe("done", 1.0)


def _with_limits(records: Iterator[Record], machine: Machine | None) -> Iterator[Record]:
    """The records with the rates of the stored machine, if there is one, and utilisations."""
    return with_utilisation(with_rates_of(records, machine) if machine else records)


@dataclass(frozen=True, slots=True)
class _ProgressScope:
    """Reports the progress of one group to the observer of the whole run.

    Attributes:
        seq_len: the length in tokens.
        observe: observer of the whole run.
        plan: of the whole run.
    """

    seq_len: int
    observe: Observer
    plan: TimePlan

    def __call__(self, activity: str, kernel: str = "all kernels") -> None:
        self.observe(f"{kernel} at {format_count(self.seq_len)}: {activity}", self.plan.done)

    def on_round(self, rounds: int, part: float) -> None:
        """Report a round of timing."""
        self.plan.in_rounds(part)
        most = round(rounds / part) if part else rounds
        self(f"round {rounds} of up to {most}")


@dataclass(slots=True)
class _GroupRun:
    """The measurements of the cases of one group.

    Attributes:
        cases: of this group.
        measurements: what to measure.
        workers: start the processes.
        progress: of this group.
        earlier: records of an earlier run, by case.
        machine: stored machine for predictions; None for none.
        records_so_far: records of this run, those of earlier groups included.
        slow: decides which cases are too slow to start.
    """

    cases: Sequence[Case]
    measurements: MeasureSettings
    workers: Workers
    progress: _ProgressScope
    earlier: ResumedRecords
    machine: Machine | None
    records_so_far: Sequence[Record]
    slow: SlowCases

    def records(self) -> Iterator[Record]:
        """Yield all records of this group: closed forms, then each case, then all times."""
        self.progress("checking what fits")
        started: list[Case] = []
        yield from self._start_cases(started)
        self.progress.plan.begin_group(started)
        alive: list[Case] = []
        for case in started:
            self.progress.plan.begin_alone(case)
            try:
                yield from self._measure_alone(case)
                alive.append(case)
            except FailedError as error:
                yield failure_record(case, error)
            self.progress.plan.end_alone()
        if self.measurements.time and alive:
            yield from self._time(alive)
        else:
            for case in alive:
                yield case_record(case, "ok", "")
        self.progress.plan.end_group()

    def _time(self, alive: Sequence[Case]) -> Iterator[Record]:
        """Time the cases in turn."""
        self.progress.plan.begin_rounds()
        self.progress("warming up")
        yield from time_interleaved(
            alive,
            self.workers,
            max_seconds=self.measurements.max_seconds,
            precision=self.measurements.precision,
            timeout=self.measurements.timeout,
            has_rates=self.machine is None
            and self.measurements.max_seconds >= rate_probes.LEAST_BUDGET_SECONDS,
            note=self._unpaired_note(alive),
            on_round=self.progress.on_round,
        )

    def _start_cases(self, started: list[Case]) -> Iterator[Record]:
        """Yield what is known without running anything, and collect the cases that are to run."""
        static_bytes = 0
        available: int | None = None
        for case in self.cases:
            known = self.earlier.get(case, ())
            yield from known
            if any(record.quantity == CASE for record in known):
                continue
            try:
                yield from closed_form_records(case)
                if case.workload.device == "cuda" and available is None:
                    available = self._available_bytes(case.workload)
                # All cases of a group are in memory at the same time while they are timed.
                status, reason = feasibility(case, static_bytes, available)
                if status == "ok" and (reason := self.slow.reason(case, self.records_so_far)):
                    status = "skipped"
            except Exception as error:
                yield failure_record(case, error)
                continue
            if status == "ok":
                started.append(case)
                static_bytes += kernels.find(case.kernel).static_bytes(case.workload)
                continue
            if status == "skipped":
                yield from predicted_records(
                    case, samples_of(self.records_so_far, case), self.machine
                )
            yield case_record(case, status, reason)

    def _measure_alone(self, case: Case) -> Iterator[Record]:
        """Measure what needs no other case, except what an earlier run has measured.

        Raises:
            FailedError: when nothing more of the case can be measured.
        """
        known = {record.quantity for record in self.earlier.get(case, ())}
        report = partial(self.progress, kernel=case.kernel)
        yield from measure_alone(case, self.measurements, self.workers, known, report)

    def _unpaired_note(self, alive: Sequence[Case]) -> str:
        """Why there is no speedup if the reference was timed in an earlier run; empty otherwise."""
        finished = {case.kernel for case in self.cases} - {case.kernel for case in alive}
        was_timed = any(
            record.quantity == "time_ns" and record.kernel == REFERENCE
            for case in self.cases
            for record in self.earlier.get(case, ())
        )
        if REFERENCE not in finished or not was_timed:
            return ""
        return f"no speedup: {REFERENCE} was timed in an earlier run, so rounds cannot be paired"

    def _available_bytes(self, workload: Workload) -> int:
        """Free memory of the device, read in a worker: reading it initializes the device."""
        timeout = self.measurements.timeout
        return self.workers.run(available_bytes, workload.device, max_seconds=timeout).result
