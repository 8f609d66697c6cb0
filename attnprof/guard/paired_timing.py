"""Times a target at two revisions in turn, each in a process of its own, round by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from attnprof import kernels
from attnprof.core.errors import AttnprofError, FailedError, MeasurementError, describe_error
from attnprof.core.intervals import Interval, paired_ratio
from attnprof.core.units import counted, format_ratio, format_tokens
from attnprof.core.verdict import Outcome, verdict
from attnprof.guard.cases import case_of
from attnprof.guard.contract import Contract
from attnprof.guard.measurement import Cell
from attnprof.guard.revision_measurement import prepare_revision
from attnprof.isolation.redirected_imports import SourceTree
from attnprof.isolation.system_memory import available_bytes
from attnprof.isolation.workers import Worker, Workers
from attnprof.measure.busy_processes import snapshot
from attnprof.measure.disturbance import Surroundings, Timed, describe_disturbance_of
from attnprof.measure.system_load import child_cpu_seconds, cores_within_quota, cpu_times

MAX_SECONDS = 10.0
"""The time budget of one run; what is undecided after it stays undecided."""

_MAX_MACS = 2**35
"""MACs of a timed call: a second or so on a few cores."""

_MEMORY_PART = 4
"""A timed call may take this part of the free memory."""

_calls: list[Callable[[], object]] = []
"""In a worker: the call that it times; at most one."""


@dataclass(frozen=True, slots=True)
class TimeChange:
    """The head's time divided by the base's.

    Attributes:
        seq_len: of the timed calls, in tokens.
        ratio: the median with its 99 % interval.
        rounds: rounds that timed both without disturbance by other processes.
        outcome: whether the head is faster or slower.
        withheld: why no verdict follows; empty if one does.
    """

    seq_len: int
    ratio: Interval
    rounds: int
    outcome: Outcome
    withheld: str = ""

    def __str__(self) -> str:
        ratio = self.ratio
        return (
            f"{format_ratio(ratio.median)} the base's time at {format_tokens(self.seq_len)} "
            f"({format_ratio(ratio.low)} to {format_ratio(ratio.high)}, "
            f"{counted(self.rounds, 'round')})"
        )


@dataclass(frozen=True, slots=True)
class TimedTarget:
    """A contract's target at one revision."""

    contract: Contract
    tree: SourceTree


def length_to_time(contract: Contract, cells: Mapping[int, Cell]) -> int:
    """The length of the contract's time limit, or the longest one that takes about a second.

    Args:
        contract: what is timed.
        cells: its costs by length.
    """
    if contract.time is not None:
        return contract.time.at
    free = available_bytes("cpu") // _MEMORY_PART
    short = [n for n, cell in cells.items() if cell.macs <= _MAX_MACS and cell.peak_bytes <= free]
    return max(short, default=min(cells))


def time_revisions(
    base: TimedTarget, head: TimedTarget, seq_len: int, workers: Workers, timeout: float
) -> TimeChange:
    """Time a target at two revisions; a difference has to occur in two runs, in new processes.

    Memory addresses of tensors alone can cost a process a tenth of its time.

    Raises:
        AttnprofError: when one of them cannot be timed.
    """
    first = _time_once(base, head, seq_len, workers, timeout)
    if first.outcome == "undecided":
        return first
    second = _time_once(base, head, seq_len, workers, timeout)
    return first if first.outcome == second.outcome else second


def _time_once(
    base: TimedTarget, head: TimedTarget, seq_len: int, workers: Workers, timeout: float
) -> TimeChange:
    from attnprof.measure.rounds import Budget, measure_rounds

    processes = snapshot()
    running = {"base": workers.worker(), "head": workers.worker()}
    try:
        for name, target in (("base", base), ("head", head)):
            _call(name, running[name], timeout, _build, target.contract, target.tree, seq_len)
        threads = partial(_call, "head", running["head"], timeout, _threads)
        measured = measure_rounds(
            {
                name: partial(_call, name, worker, timeout, _timed)
                for name, worker in running.items()
            },
            _time_of,
            Budget(MAX_SECONDS),
            reference="base",
            surroundings=Surroundings(
                lambda: cpu_times(child_cpu_seconds()), threads, cores_within_quota()
            ),
        )
        for name, error in measured.failures.items():
            raise MeasurementError(f"the {name} cannot be timed: {describe_error(error)}")
        disturbance = measured.disturbance
        withheld = ""
        if disturbance.is_withheld:
            withheld = describe_disturbance_of(disturbance, threads, processes)
    finally:
        for worker in running.values():
            worker.close()
    return change_of(seq_len, measured.times["base"], measured.times["head"], withheld)


def change_of(seq_len: int, base: list[int], head: list[int], withheld: str = "") -> TimeChange:
    """What follows from the times of the same rounds, in nanoseconds."""
    judged = verdict(paired_ratio(base, head), len(base))
    outcome: Outcome = "undecided" if withheld else judged.outcome
    return TimeChange(seq_len, paired_ratio(head, base), len(base), outcome, withheld)


def _call(
    name: str, worker: Worker, timeout: float, function: Callable[..., Any], *args: object
) -> Any:
    """What a function returns in the worker of a revision.

    Raises:
        FailedError: when it fails.
    """
    outcome = worker.call(function, *args, max_seconds=timeout)
    if outcome.status == "ok":
        return outcome.value
    if isinstance(outcome.error, AttnprofError):
        raise MeasurementError(f"the {name} cannot be timed: {outcome.error}")
    raise FailedError(f"the {name} cannot be timed: {outcome.failure}", outcome.status)


def _time_of(run: Callable[[], object]) -> Timed:
    """The time that a worker has measured."""
    timed = run()
    assert isinstance(timed, Timed)
    return timed


# --- in the workers -------------------------------------------------------------------------------


def _build(contract: Contract, tree: SourceTree, seq_len: int) -> None:
    absent = prepare_revision(contract, tree)
    if absent:
        raise MeasurementError(absent)
    case = case_of(contract.target, seq_len, contract.options)
    _calls[:] = [kernels.find(case.kernel).build(case.workload).run]


def _timed() -> Timed:
    from attnprof.measure.rounds import cpu_timer

    (call,) = _calls
    return cpu_timer(call)


def _threads() -> int:
    import torch

    return torch.get_num_threads()
