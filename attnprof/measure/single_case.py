"""Measures one case alone in worker processes: compilation, output, peak memory and counts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from attnprof import kernels
from attnprof.core.errors import FailedError, MeasurementError
from attnprof.core.records import (
    COMPILE,
    RESERVED_PEAK,
    RESIDENT_PEAK,
    Record,
    missing_value_record,
)
from attnprof.core.units import format_duration
from attnprof.core.verdict import TARGET_RELATIVE_WIDTH
from attnprof.core.workload import Case
from attnprof.counting import counters
from attnprof.counting.counters import REFERENCE_COUNTER
from attnprof.isolation.outcome import Outcome
from attnprof.isolation.workers import Workers
from attnprof.measure import worker_tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSettings:
    """What to measure in addition to the closed forms.

    Attributes:
        count: MACs, by every counter.
        time: wall time.
        memory: peak memory.
        max_seconds: budget for the timed rounds of one length, all kernels together.
        precision: width of the intervals, as a fraction of the median, that ends the rounds early.
        timeout: limit in seconds for one count, memory measurement or timed call.
        allow_slow: whether to run cases that are predicted to take far longer than `max_seconds`.
        check_against: reference, as `pkg.mod:name`, that the outputs of custom kernels are
            compared with; None for no check. Built-in kernels are compared with their pattern's
            definition before their time or memory is measured.
    """

    count: bool = True
    time: bool = True
    memory: bool = True
    max_seconds: float = 15.0
    precision: float = TARGET_RELATIVE_WIDTH
    timeout: float = 600.0
    allow_slow: bool = False
    check_against: str | None = None


def measure_alone(
    case: Case,
    measurements: MeasureSettings,
    workers: Workers,
    known: Collection[str],
    report: Callable[[str], None],
) -> Iterator[Record]:
    """Measure everything of a case that needs no other case.

    Args:
        case: what to measure.
        measurements: what to measure of it.
        workers: start the processes.
        known: quantities that an earlier run has measured; they are not measured again.
        report: called with the current activity.

    Raises:
        FailedError: when nothing more of the case can be measured.
    """
    timeout = measurements.timeout
    worker = workers.worker()
    try:
        needs_compilation = kernels.find(case.kernel).needs_compilation and COMPILE not in known
        if needs_compilation and (measurements.time or measurements.memory):
            report("compiling")
            compiled = worker.call(worker_tasks.compile_ns, case, max_seconds=timeout)
            yield _compile_record(case, compiled)
        _check_output(case, measurements, workers, report)
        # Memory comes first: the resident size of the process is measured as well.
        if measurements.memory and "peak_bytes" not in known:
            report("measuring memory")
            peaks = worker.call(worker_tasks.peak_memory, case, max_seconds=timeout)
            yield from _peak_memory_records(case, peaks)
        for name in counters.names() if measurements.count else ():
            if counters.quantity(name) not in known:
                report(f"counting with {name.replace('_', ' ')}")
                counted = worker.call(worker_tasks.count_with, case, name, max_seconds=timeout)
                yield _count_record(case, name, counted)
    finally:
        worker.close()


def _check_output(
    case: Case, measurements: MeasureSettings, workers: Workers, report: Callable[[str], None]
) -> None:
    """Check the output in another worker, where uninitialized memory is filled with NaN.

    Filling memory would slow down the measurements.

    Raises:
        FailedError: when the output is wrong or cannot be computed.
    """
    is_custom = kernels.is_custom(case.kernel)
    reference = measurements.check_against if is_custom else None
    is_checked = bool(reference) if is_custom else measurements.memory or measurements.time
    if not is_checked:
        return
    report("checking output")
    outcome = workers.run(
        worker_tasks.check_output, case, reference, max_seconds=measurements.timeout
    )
    if outcome.status != "ok":
        raise FailedError(f"{outcome.failure} while its output was checked", outcome.status)
    if outcome.value:
        raise FailedError(outcome.value, "wrong")


def _compile_record(case: Case, outcome: Outcome) -> Record:
    """The compilation time.

    Raises:
        FailedError: when compiling failed.
    """
    if outcome.status != "ok":
        raise FailedError(f"{outcome.failure} while it was compiled", outcome.status)
    detail = f"compiled in {format_duration(outcome.value)}, not included in its time"
    return Record(case.kernel, case.workload, COMPILE, outcome.value, detail=detail)


def _count_record(case: Case, counter: str, outcome: Outcome) -> Record:
    """A count, or an empty cell and the reason: a counter may fail on a kernel that works.

    Raises:
        FailedError: when the kernel itself failed.
    """
    quantity = counters.quantity(counter)
    if outcome.status == "ok":
        return Record(case.kernel, case.workload, quantity, outcome.value)
    is_kernels = counter == REFERENCE_COUNTER and not isinstance(outcome.error, MeasurementError)
    if is_kernels or outcome.worker_died or outcome.status == "oom":
        raise FailedError(f"{outcome.failure} while {counter} counted it", outcome.status)
    return missing_value_record(case, quantity, outcome.failure)


def _peak_memory_records(case: Case, outcome: Outcome) -> Iterator[Record]:
    """The peaks, or an empty cell and the reason.

    Raises:
        FailedError: when the kernel failed.
    """
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
