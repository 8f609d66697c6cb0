"""Times target and reference in the same rounds, until the ratio's interval clears the limit."""

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
"""The time budget of one run; a ratio that is undecided after it stays undecided."""

_TARGET_OPTIONS = ("window", "dilation", "global_tokens", "scope", "input")
"""Options of the target's pattern and inputs: they do not apply to a reference that is a custom
kernel."""


@dataclass(frozen=True, slots=True)
class TimeRatio:
    """The target's time divided by the reference's.

    Attributes:
        ratio: the median with its 99 % interval.
        rounds: rounds that timed both without disturbance by other processes.
        withheld: why no verdict follows from it; empty if one does.
    """

    ratio: Interval
    rounds: int
    withheld: str = ""

    def outcome(self, limit: float) -> Literal["kept", "broken", "undecided"]:
        """`kept` or `broken` if the whole interval is on one side of the limit."""
        if self.withheld:
            return "undecided"
        if self.ratio.low > limit:
            return "broken"
        return "kept" if self.ratio.high < limit else "undecided"


def time_against_reference(
    contract: Contract, folder: Path, max_seconds: float = MAX_SECONDS
) -> TimeRatio:
    """Time a contract's target and its reference in alternating calls; changes to the folder.

    Raises:
        UsageError: when the reference cannot be used.
        MeasurementError: when one of the two fails or computes a wrong result.
    """
    import torch

    from attnprof.measure.rounds import Budget, cpu_timer, cuda_timer, measure_rounds

    limit = contract.time
    assert limit is not None
    os.chdir(folder)
    target = case_of(contract.target, limit.at, contract.options)
    is_on_gpu = target.workload.device == "cuda"
    if is_on_gpu and not torch.cuda.is_available():
        raise MeasurementError("time on cuda needs a CUDA device; torch finds none here")
    reference = _reference_case(contract, limit)
    calls = {
        name: _checked_call(name, case)
        for name, case in (("target", target), ("reference", reference))
    }

    def is_settled(times: Mapping[str, list[int]]) -> bool:
        return len(times) < 2 or _time_ratio(times).outcome(limit.max) != "undecided"

    processes = snapshot()
    measured = measure_rounds(
        {name: call.run for name, call in calls.items()},
        cuda_timer() if is_on_gpu else cpu_timer,
        Budget(max_seconds),
        is_settled=is_settled,
        surroundings=surroundings_here(),
    )
    for name, error in measured.failures.items():
        raise MeasurementError(f"the {name} cannot be timed: {describe_error(error)}")
    disturbance = measured.disturbance
    reason = (
        describe_disturbance_of(disturbance, torch.get_num_threads, processes)
        if disturbance.is_withheld
        else ""
    )
    return _time_ratio(measured.times, reason)


def confirmed_time_ratio(
    contract: Contract, folder: Path, workers: Workers, timeout: float
) -> TimeRatio:
    """The time ratio; if it breaks the limit, that of a second run in another process.

    Memory addresses of tensors alone can cost a process a tenth of its time; another process has
    others, so a breach must occur in both.

    Raises:
        AttnprofError: when the target or the reference cannot be timed.
    """
    limit = contract.time
    assert limit is not None
    first: TimeRatio = workers.run(
        time_against_reference, contract, folder, max_seconds=timeout
    ).result
    if first.outcome(limit.max) != "broken":
        return first
    return workers.run(time_against_reference, contract, folder, max_seconds=timeout).result


def _checked_call(name: str, case: Case) -> Call:
    """The call to time, after checking a built-in kernel's output against its pattern.

    Raises:
        MeasurementError: when the output is wrong.
    """
    wrong = "" if kernels.is_custom(case.kernel) else worker_tasks.check_output(case)
    if wrong:
        raise MeasurementError(f"the {name} computes a wrong result: {wrong}")
    return kernels.find(case.kernel).build(case.workload)


def _time_ratio(times: Mapping[str, list[int]], withheld: str = "") -> TimeRatio:
    target, reference = times["target"], times["reference"]
    return TimeRatio(paired_ratio(target, reference), len(target), withheld)


def _reference_case(contract: Contract, limit: TimeLimit) -> Case:
    """The reference's case: with the target's options, except those that do not apply to it.

    Raises:
        UsageError: when the reference cannot be used.
    """
    ignored = _TARGET_OPTIONS if kernels.is_custom(limit.reference) else ("input",)
    options = {name: value for name, value in contract.options.items() if name not in ignored}
    try:
        return case_of(limit.reference, limit.at, options)
    except UsageError as error:
        expected = f"{error.argument} {error.value}: {error.expected}"
        raise UsageError("time.reference", limit.reference, expected) from error
