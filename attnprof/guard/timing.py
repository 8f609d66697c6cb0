"""Time as a ratio within one run: rounds that run both, until the interval clears the limit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from attnprof import kernels
from attnprof.core.errors import MeasurementError, UsageError, describe_error
from attnprof.core.intervals import Interval, paired_ratio
from attnprof.core.workload import Case
from attnprof.counting.call import Call
from attnprof.guard.cases import case_of
from attnprof.guard.contract import Contract, TimeLimit
from attnprof.isolation.workers import Workers
from attnprof.measure import worker_tasks
from attnprof.measure.busy_processes import snapshot
from attnprof.measure.disturbance import describe_disturbance_of, surroundings_here

MAX_SECONDS = 30.0
"""Rounds of one race end here; what is undecided then stays so."""

_PATTERNS = ("window", "dilation", "global_tokens", "scope", "input")
"""Options of the target alone: the reference is measured without, where it is none of ours."""


@dataclass(frozen=True, slots=True)
class TimeRatio:
    """How long the target took, as a part of the reference's time.

    Attributes:
        ratio: with its interval at 99 %.
        rounds: that ran both and that nothing else disturbed.
        withheld: why nothing follows from it; empty where something does.
    """

    ratio: Interval
    rounds: int
    withheld: str = ""

    def outcome(self, limit: float) -> Literal["kept", "broken", "undecided"]:
        """Whether the whole interval is on one side of the limit."""
        if self.withheld:
            return "undecided"
        if self.ratio.low > limit:
            return "broken"
        return "kept" if self.ratio.high < limit else "undecided"


def time_against_reference(
    contract: Contract, folder: Path, max_seconds: float = MAX_SECONDS
) -> TimeRatio:
    """Time a contract's target and its reference in turn, in a process of its own.

    Raises:
        UsageError: when the reference cannot be used.
        MeasurementError: when one of the two cannot be run.
    """
    import torch

    from attnprof.measure.rounds import Budget, cpu_timer, measure_rounds

    limit = contract.time
    assert limit is not None
    os.chdir(folder)
    target = case_of(contract.target, limit.at, contract.options)
    reference = _reference_case(contract, limit)
    calls = {
        name: _right_call(name, case)
        for name, case in (("target", target), ("reference", reference))
    }

    def is_settled(times: Mapping[str, list[int]]) -> bool:
        return len(times) < 2 or _raced(times).outcome(limit.max) != "undecided"

    processes = snapshot()
    measured = measure_rounds(
        {name: call.run for name, call in calls.items()},
        cpu_timer,
        Budget(max_seconds),
        is_settled=is_settled,
        surroundings=surroundings_here(),
    )
    for name, error in measured.failures.items():
        raise MeasurementError(f"the {name} cannot be timed: {describe_error(error)}")
    seen = measured.disturbance
    reason = describe_disturbance_of(seen, torch.get_num_threads, processes) * seen.is_withheld
    return _raced(measured.times, reason)


def confirmed_time_ratio(
    contract: Contract, folder: Path, workers: Workers, timeout: float
) -> TimeRatio:
    """A race; one that breaks the limit is run anew in another process, and has to break it again.

    A process may have its tensors at addresses that cost it a tenth: another has not the same.

    Raises:
        AttnprofError: when it cannot be run.
    """
    limit = contract.time
    assert limit is not None
    first: TimeRatio = workers.run(
        time_against_reference, contract, folder, max_seconds=timeout
    ).result
    if first.outcome(limit.max) != "broken":
        return first
    return workers.run(time_against_reference, contract, folder, max_seconds=timeout).result


def _right_call(name: str, case: Case) -> Call:
    """A call to be timed; one of a built-in kernel computes what its pattern says.

    Raises:
        MeasurementError: when its output is wrong.
    """
    wrong = "" if kernels.is_custom(case.kernel) else worker_tasks.wrong_output(case)
    if wrong:
        raise MeasurementError(f"the {name} is wrong: {wrong}")
    return kernels.find(case.kernel).build(case.workload)


def _raced(times: Mapping[str, list[int]], withheld: str = "") -> TimeRatio:
    target, reference = times["target"], times["reference"]
    return TimeRatio(paired_ratio(target, reference), len(target), withheld)


def _reference_case(contract: Contract, limit: TimeLimit) -> Case:
    is_own = kernels.is_custom(limit.reference)
    options = {
        name: value
        for name, value in contract.options.items()
        if name not in (_PATTERNS if is_own else ("input",))
    }
    try:
        return case_of(limit.reference, limit.at, options)
    except UsageError as error:
        expected = f"{error.argument} {error.value}: {error.expected}"
        raise UsageError("time.reference", limit.reference, expected) from error
