"""Times the cases of one length in turn, and writes down what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import cast

from attnprof import steps
from attnprof.endings import closed, failed
from attnprof.errors import FailedError
from attnprof.isolated import Worker, Workers
from attnprof.plan import Case
from attnprof.records import RATIO, REFERENCE, ROUNDS, Record, Value

NOISY = 0.2
"""An interval wider than this part of its median is called noisy."""


class Bench:
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

    def clock(self) -> float:
        """Seconds, without those that building and what failed have taken from the others."""
        return time.monotonic() - self._lost_seconds

    def time_ns(self, case: Case) -> int:
        """The time of one call of a case, which is built where it has not been.

        Raises:
            FailedError: when it cannot be built or called.
        """
        begun = time.monotonic()
        try:
            self._build(case)
            begun = time.monotonic()
            return self._do(steps.time_ns, case)
        except FailedError:
            self._lost_seconds += time.monotonic() - begun
            raise

    def _build(self, case: Case) -> None:
        if case in self._built:
            return
        begun = time.monotonic()
        self._do(steps.build, case)
        self._built.add(case)
        if self._rebuilt:  # it has been warmed up in a process that is lost
            self._do(steps.time_ns, case)
        self._lost_seconds += time.monotonic() - begun

    def note(self) -> str:
        """What is to be known of the device's clocks; empty where nothing is."""
        if self._worker is None:
            return ""
        return self._worker.call(steps.clock_note, max_seconds=self._max_seconds).value or ""

    def close(self) -> None:
        """Keep nothing any longer."""
        if self._worker is not None:
            self._worker.close()
        self._worker = None
        steps.release()

    def _do(self, step: Callable[[Case], int | None], case: Case) -> int:
        if self._worker is None:
            self._worker = self._workers.worker()
        outcome = self._worker.call(step, case, max_seconds=self._max_seconds)
        if outcome.is_lost:
            self._worker.close()
            self._worker, self._rebuilt = None, True
            self._built.clear()
        if outcome.status != "ok":
            raise FailedError(f"{outcome.failure} while it was timed", outcome.status)
        return outcome.value or 0


def time_in_turn(
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
    from attnprof.meters.latency import Budget, measure_rounds
    from attnprof.statistics import median_interval, paired_ratio

    bench = Bench(workers, timeout)
    try:
        times, failures = measure_rounds(
            {case: partial(bench.time_ns, case) for case in cases},
            _told,
            Budget(max_seconds, bench.clock),
            on_round=on_round,
            precision=precision,
            reference=next((case for case in cases if case.kernel == REFERENCE), None),
        )
        notes = [note, bench.note()]
    finally:
        bench.close()
    for case, error in failures.items():
        yield failed(case, error)
    for case, samples in times.items():
        interval = median_interval(samples)
        values: dict[str, Value] = {
            "time_ns": round(interval.median),
            "time_low_ns": round(interval.low),
            "time_high_ns": round(interval.high),
            ROUNDS: len(samples),
        }
        for other in times:
            if other.workload != case.workload.densified():
                continue
            ratio = paired_ratio(samples, times[other])
            values[f"{RATIO}:{other.kernel}"] = ratio.median
            values[f"{RATIO}_low:{other.kernel}"] = ratio.low
            values[f"{RATIO}_high:{other.kernel}"] = ratio.high
            if other.kernel == REFERENCE:
                values["speedup"] = round(paired_ratio(times[other], samples).median, 4)
        for quantity, value in values.items():
            yield Record(case.kernel, case.workload, quantity, value)
        noise = _noise(interval.relative_width, len(samples))
        yield closed(case, "ok", "; ".join(text for text in (noise, *notes) if text))


def _told(run: Callable[[], object]) -> int:
    """A bench tells the time of a call itself."""
    return cast("int", run())


def _noise(relative_width: float, rounds: int) -> str:
    if relative_width <= NOISY:
        return ""
    return (
        f"time is noisy: its 99 % interval spans {100 * relative_width:.0f} % of the median of "
        f"{rounds} rounds; raise --max-seconds or quieten the machine"
    )
