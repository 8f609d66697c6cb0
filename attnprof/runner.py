"""The only place where kernels, counters and meters meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from attnprof import counters, formulas, kernels
from attnprof.errors import MeasurementError, UncountedError, describe_error
from attnprof.fitting import obstacle
from attnprof.kernels import Kernel
from attnprof.plan import Case
from attnprof.records import CASE, COMPILE, RATIO, Record, Status, Value
from attnprof.units import format_count, format_duration
from attnprof.workload import Device, Workload

if TYPE_CHECKING:
    from attnprof.call import Call

REFERENCE = "bert-sdpa"
"""The kernel that `speedup` is against, at the same length in the same run."""

NOISY = 0.2
"""An interval wider than this part of its median is called noisy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What to measure beside the closed forms.

    Attributes:
        count: MACs, by every counter.
        time: wall time.
        memory: peak memory.
        max_seconds: for the timed rounds of one length, all kernels together.
    """

    count: bool = True
    time: bool = True
    memory: bool = True
    max_seconds: float = 15.0


Observer = Callable[[str, float], None]
"""Told what is being done now, and which part of all work is done, 0 to 1."""


def _ignore(activity: str, done: float) -> None:
    """Observes nothing."""


def estimate(cases: Iterable[Case]) -> Iterator[Record]:
    """Closed forms only: needs neither torch nor memory, whatever the length.

    What is the user's own has none: it is counted without numbers, for which torch is loaded.
    """
    for case in cases:
        try:
            yield from _closed_forms(case)
        except _CaseEndError as ending:
            yield _failed(case, ending.error)
            continue
        reason = kernels.find(case.kernel).supports(case.workload)
        yield _closed(case, "unsupported" if reason else "ok", reason or "")


def measure(
    cases: Sequence[Case], measurements: Measurements, observe: Observer = _ignore
) -> Iterator[Record]:
    """Closed forms, counts, memory and time, length by length; records come as they are taken.

    A case that cannot be run has a status and a reason; the others go on.
    """
    seen = 0
    for seq_len, group in groupby(cases, key=lambda case: case.workload.seq_len):
        here = list(group)
        begin, share = seen / len(cases), len(here) / len(cases)
        step = _Step(f"{format_count(seq_len)} tokens", observe, begin, share)
        yield from _measure_length(here, measurements, step)
        seen += len(here)
    observe("done", 1.0)


def load(cases: Iterable[Case]) -> None:
    """Import all that measuring needs, by building each kernel's bottom layer at its shortest.

    Some packages swallow an interrupt that reaches them while they are imported; so it is done
    before anything is measured. What fails here fails again, and is told, when it is measured.
    What is the user's own has been imported already, and may be too large to be built.
    """
    for name in counters.names():
        counters.find(name)
    for case in {case.kernel: case for case in cases}.values():
        if kernels.is_own(case.kernel):
            continue
        if kernels.find(case.kernel).supports(case.workload) is None:
            bottom = case.workload.layers[0]
            with suppress(Exception):
                kernels.find(case.kernel).build(
                    replace(case.workload, pattern=bottom, seq_len=1 + bottom.last_position)
                )


@dataclass(frozen=True, slots=True)
class _Step:
    """Tells the observer how far one length is, whose work has a share of all of it."""

    length: str
    observe: Observer
    begin: float
    share: float

    def __call__(self, activity: str, part: float) -> None:
        self.observe(f"{self.length}: {activity}", self.begin + self.share * part)


_TIMING_FROM = 0.5
"""Counting and memory are taken for the first half of a length's work, for the progress display."""


def _measure_length(
    cases: Sequence[Case], measurements: Measurements, step: _Step
) -> Iterator[Record]:
    running: list[Case] = []
    held_bytes = 0
    for case in cases:
        try:
            yield from _closed_forms(case)
        except _CaseEndError as ending:
            yield _failed(case, ending.error)
            continue
        # Timed in turn, all cases of a length live at the same time.
        status, reason = obstacle(case, held_bytes)
        if status == "ok":
            running.append(case)
            held_bytes += kernels.find(case.kernel).held_bytes(case.workload)
        else:
            yield _closed(case, status, reason)
    failed: set[Case] = set()
    for index, case in enumerate(running):
        part = _TIMING_FROM * index / len(running)
        try:
            if kernels.find(case.kernel).compiles and (measurements.time or measurements.memory):
                step(f"compiling {case.kernel}", part)
                yield _compile_time(case)
            if measurements.count:
                for name in counters.names():
                    step(f"counting {case.kernel} with {name}", part)
                    yield _counted(case, name)
            if measurements.memory:
                step(f"memory of {case.kernel}", part)
                yield _peak(case)
        except _CaseEndError as ending:
            error = ending.error
            failed.add(case)
            yield _failed(case, error)
    alive = [case for case in running if case not in failed]
    if measurements.time and alive:
        yield from _timed(
            alive,
            measurements.max_seconds,
            lambda spent: step(
                f"timing {len(alive)} kernels in turn", _TIMING_FROM + (1 - _TIMING_FROM) * spent
            ),
        )
    else:
        for case in alive:
            yield _closed(case, "ok", "")


def _closed_forms(case: Case) -> Iterator[Record]:
    """What is known without running anything."""
    kernel, workload = kernels.find(case.kernel), case.workload
    if kernel.attends == "own":
        yield from _counts_of_own(case, kernel)
        return
    values: dict[str, Value] = {"useful_macs": formulas.useful_macs(workload)}
    if kernel.supports(workload) is None:
        values |= {
            "padded_seq_len": kernels.padded_seq_len(kernel, workload),
            "params": kernel.parameters(workload),
            "executed_macs": kernel.executed_macs(workload),
            "predicted_peak_bytes": kernel.peak_bytes(workload),
        }
    for quantity, value in values.items():
        yield Record(case.kernel, workload, quantity, value)


def _counts_of_own(case: Case, kernel: Kernel) -> Iterator[Record]:
    """What a run without numbers tells of the user's own; what it raises ends the case."""
    workload = case.workload
    if kernel.supports(workload) is not None:
        return
    quantities: dict[str, Callable[[Workload], int]] = {
        "padded_seq_len": lambda workload: kernels.padded_seq_len(kernel, workload),
        "params": kernel.parameters,
        "executed_macs": kernel.executed_macs,
        "predicted_peak_bytes": kernel.peak_bytes,
    }
    for quantity, take in quantities.items():
        try:
            yield Record(case.kernel, workload, quantity, take(workload))
        except UncountedError as error:
            yield _empty(case, quantity, error)
        except Exception as error:
            if quantity == "predicted_peak_bytes" and isinstance(error, MeasurementError):
                yield _empty(case, quantity, error)
                continue
            raise _CaseEndError(error) from error


def _empty(case: Case, quantity: str, error: MeasurementError) -> Record:
    detail = f"{quantity} is empty: {error}"
    return Record(case.kernel, case.workload, quantity, None, "error", detail)


class _CaseEndError(Exception):
    """An error after which nothing more of a case can be measured."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _build(case: Case) -> Call:
    try:
        return kernels.find(case.kernel).build(case.workload)
    except Exception as error:
        raise _CaseEndError(error) from error


def _counted(case: Case, counter: str) -> Record:
    """One count, or an empty cell and the reason."""
    module = counters.find(counter)
    return _taken(case, module.quantity, lambda: module.count(partial(_build, case)))


def _compile_time(case: Case) -> Record:
    """What the first call takes more than the second; a failure ends the case."""
    from attnprof.meters.latency import cpu_timer

    call = _build(case)
    try:
        first_ns, second_ns = cpu_timer(call.run), cpu_timer(call.run)
    except Exception as error:
        raise _CaseEndError(error) from error
    compile_ns = max(0, first_ns - second_ns)
    detail = f"compiled in {format_duration(compile_ns)}, which is no part of its time"
    return Record(case.kernel, case.workload, COMPILE, compile_ns, detail=detail)


def _peak(case: Case) -> Record:
    """The peak, or an empty cell and the reason."""
    from attnprof.meters.memory import measure_peak_bytes

    call = _build(case)
    if kernels.find(case.kernel).compiles:
        call.run()
    return _taken(case, "peak_bytes", lambda: measure_peak_bytes(call.run, case.workload.device))


def _taken(case: Case, quantity: str, take: Callable[[], int]) -> Record:
    """One quantity, or an empty cell and the reason: what else there is can still be measured."""
    try:
        return Record(case.kernel, case.workload, quantity, take())
    except _CaseEndError:
        raise
    except Exception as error:
        if _ran_out_of_memory(error):
            raise _CaseEndError(error) from error
        detail = f"{quantity} is empty: {describe_error(error)}"
        return Record(case.kernel, case.workload, quantity, None, "error", detail)


def _timed(
    cases: Sequence[Case], max_seconds: float, on_round: Callable[[float], None]
) -> Iterator[Record]:
    """Time, and speed against the reference, of cases that run at one length."""
    from attnprof.meters.latency import Budget, cpu_timer, cuda_timer, measure_rounds
    from attnprof.statistics import median_interval, paired_ratio

    device: Device = cases[0].workload.device
    runs: dict[Case, Callable[[], object]] = {}
    for case in cases:
        try:
            runs[case] = _build(case).run
        except _CaseEndError as ending:
            yield _failed(case, ending.error)
    on_round(0.0)
    timer = cuda_timer() if device == "cuda" else cpu_timer
    times, failures = measure_rounds(runs, timer, Budget(max_seconds), on_round=on_round)
    for case, error in failures.items():
        yield _failed(case, error)
    for case, samples in times.items():
        interval = median_interval(samples)
        values: dict[str, Value] = {
            "time_ns": round(interval.median),
            "time_low_ns": round(interval.low),
            "time_high_ns": round(interval.high),
        }
        for other in times:
            if other.workload != case.workload.densified():
                continue
            ratio = paired_ratio(times[case], times[other])
            values[f"{RATIO}:{other.kernel}"] = ratio.median
            values[f"{RATIO}_low:{other.kernel}"] = ratio.low
            values[f"{RATIO}_high:{other.kernel}"] = ratio.high
            if other.kernel == REFERENCE:
                values["speedup"] = round(paired_ratio(times[other], samples).median, 4)
        for quantity, value in values.items():
            yield Record(case.kernel, case.workload, quantity, value)
        yield _closed(case, "ok", _noise(interval.relative_width, len(samples)))


def _noise(relative_width: float, rounds: int) -> str:
    if relative_width <= NOISY:
        return ""
    return (
        f"time is noisy: its 99 % interval spans {100 * relative_width:.0f} % of the median of "
        f"{rounds} rounds; raise --max-seconds or quieten the machine"
    )


def _closed(case: Case, status: Status, detail: str) -> Record:
    return Record(case.kernel, case.workload, CASE, None, status, detail)


def _failed(case: Case, error: Exception) -> Record:
    """The case ends here: out of memory, or an error in the words of whoever raised it."""
    if _ran_out_of_memory(error):
        return _closed(case, "oom", f"ran out of memory: {describe_error(error)}")
    return _closed(case, "error", describe_error(error))


def _ran_out_of_memory(error: Exception) -> bool:
    import torch

    # The CPU allocator raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "not enough memory" in str(error) or "can't allocate memory" in str(error)
    )
