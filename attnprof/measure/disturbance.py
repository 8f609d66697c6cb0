"""Rounds of timed calls, and which of them other work on the machine disturbed.

A threaded call waits for its slowest thread. If another process keeps one of its threads from a
core, the call may take several times as long, and some kernels suffer far more than others. Such a
round is evidence for none of its calls: it is discarded for all of them, which keeps the pairs. If
too few rounds are left, there is no verdict.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from attnprof.analysis.noise import OTHERS_CORES, describe_disturbance
from attnprof.core.units import counted
from attnprof.measure.busy_processes import Snapshot, busy_between, snapshot
from attnprof.measure.system_load import (
    CpuTimes,
    child_cpu_seconds,
    conditions,
    cores_used_by_others,
    cores_within_quota,
    cpu_times,
    stolen_share,
)

Key = TypeVar("Key")

WAITED_PART = 0.03
"""A call is disturbed if one of its threads waited for a core for more than this fraction of it.
Beside one busy process on two cores it is half of the call, on a quiet machine a hundredth."""
WAITED_NS = 100_000
"""Shorter waits occur whenever a thread is woken."""
LONG_WAIT_PART = 0.25
"""Above this fraction a thread was kept from a core even if no other process is visible:
containers may hide the other processes of the machine."""
STOLEN_PART = 0.03
"""Rounds are disturbed while the hypervisor takes more than this fraction of all cores' time."""
BLOCK_SECONDS = 0.25
"""Interval of readings of the system-wide times, which are counted in steps of 0.01 s."""
CROWDED_CORES = 0.3
"""Used if the system does not report how long threads wait: rounds are disturbed while more than
this many cores are missing of those that the call's threads need."""
REPORTED_PART = 0.1
"""Disturbed rounds are reported if they are more than this fraction of all rounds."""
MIN_UNDISTURBED_ROUNDS = 4
"""Fewer undisturbed rounds give no verdict, as they give no usable interval."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One timed call.

    Attributes:
        time_ns: wall time.
        waited_ns: the longest time that one of its threads waited for a core; None if the system
            does not report it.
    """

    time_ns: int
    waited_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Readings of the rest of the machine while calls are timed.

    Attributes:
        cpu_times: reads the load so far.
        threads: returns the number of threads that a call computes with.
        usable_cores: cores that these threads may run on.
        clock: in seconds.
    """

    cpu_times: Callable[[], CpuTimes]
    threads: Callable[[], int]
    usable_cores: float
    clock: Callable[[], float] = time.monotonic


def surroundings_here() -> Surroundings:
    """The surroundings of calls that run in this process."""
    import torch

    return Surroundings(
        lambda: cpu_times(child_cpu_seconds()), torch.get_num_threads, cores_within_quota()
    )


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What other work on the machine did to the rounds of one measurement.

    Attributes:
        rounds: number of rounds that ran.
        left_out: number of rounds that were disturbed.
        is_withheld: whether too few undisturbed rounds are left; then the times are those of all
            rounds, and their ratios give no verdict.
        before: the load when the rounds began; None if it was not read.
        after: the load when they ended.
        reports_waits: whether the system reported how long threads waited.
    """

    rounds: int = 0
    left_out: int = 0
    is_withheld: bool = False
    before: CpuTimes | None = None
    after: CpuTimes | None = None
    reports_waits: bool = True


def describe_disturbance_of(
    disturbance: Disturbance, threads: Callable[[], int], processes: Snapshot
) -> str:
    """What disturbed the rounds and what helps, in a sentence; empty if few were disturbed.

    Args:
        disturbance: of the rounds.
        threads: returns the number of threads that a call computes with.
        processes: the processes of the machine before the rounds.
    """
    left_out, rounds = disturbance.left_out, disturbance.rounds
    is_worth_reporting = disturbance.is_withheld or left_out > REPORTED_PART * rounds
    if not left_out or not is_worth_reporting:
        return ""
    cause, remedy = "threads waited for a core", "close other programs"
    if disturbance.before is not None and disturbance.after is not None:
        cause, remedy = describe_disturbance(
            conditions(disturbance.before, disturbance.after, threads()),
            busy_between(processes, snapshot()),
            reports_waits=disturbance.reports_waits,
        )
    if disturbance.is_withheld:
        return f"not measurable now: {cause}; {remedy}"
    return f"{left_out} of {counted(rounds, 'round')} were discarded: {cause}"


class RoundLog(Generic[Key]):
    """Rounds as they run, with the load of the machine around them.

    Args:
        surroundings: None to use only the waits of the calls themselves.
    """

    def __init__(self, surroundings: Surroundings | None) -> None:
        self.rounds: list[dict[Key, Timed]] = []
        self._surroundings = surroundings
        self._in_bad_block: list[bool] = []
        self._threads = surroundings.threads() if surroundings else 1
        self._first_load = self._last_load = surroundings.cpu_times() if surroundings else None
        self._last_read_at = surroundings.clock() if surroundings else 0.0

    def add(self, times: Mapping[Key, Timed]) -> None:
        """Keep a round."""
        self.rounds.append(dict(times))
        surroundings = self._surroundings
        if surroundings is None:
            return
        if surroundings.clock() - self._last_read_at >= BLOCK_SECONDS:
            self.check_load()

    def check_load(self) -> None:
        """Judge the rounds since the last reading by the load of the whole machine meanwhile."""
        surroundings, before = self._surroundings, self._last_load
        if surroundings is None or before is None or not self._unjudged_rounds:
            return
        self._last_load, self._last_read_at = surroundings.cpu_times(), surroundings.clock()
        is_bad = self._is_bad(before, self._last_load)
        self._in_bad_block += [is_bad] * self._unjudged_rounds

    def restart_load(self) -> None:
        """Discard earlier readings: they include the work of a process of this run that ended."""
        if self._surroundings is not None:
            self._in_bad_block += [False] * self._unjudged_rounds
            self._first_load = self._last_load = self._surroundings.cpu_times()
            self._last_read_at = self._surroundings.clock()

    def undisturbed(self) -> list[dict[Key, Timed]]:
        """The rounds that nothing else disturbed, as far as is known by now."""
        limit = self._limit()
        in_bad_block = [*self._in_bad_block, *[False] * self._unjudged_rounds]
        return [
            times
            for times, is_bad in zip(self.rounds, in_bad_block, strict=True)
            if not is_bad and not _waited(times.values(), limit)
        ]

    def disturbance(self) -> Disturbance:
        """What disturbed the rounds, in total."""
        num_undisturbed = len(self.undisturbed())
        return Disturbance(
            rounds=len(self.rounds),
            left_out=len(self.rounds) - num_undisturbed,
            is_withheld=num_undisturbed < min(MIN_UNDISTURBED_ROUNDS, len(self.rounds)),
            before=self._first_load,
            after=self._last_load,
            reports_waits=self._reports_waits(),
        )

    @property
    def _unjudged_rounds(self) -> int:
        return len(self.rounds) - len(self._in_bad_block)

    def _limit(self) -> float:
        """The fraction of a call that one of its threads may wait, by the load of others."""
        surroundings = self._surroundings
        if surroundings is None or self._first_load is None or self._last_load is None:
            return WAITED_PART
        if (cores_used_by_others(self._first_load, self._last_load) or 0.0) >= OTHERS_CORES:
            return WAITED_PART
        return LONG_WAIT_PART if self._threads <= surroundings.usable_cores else float("inf")

    def _is_bad(self, before: CpuTimes, after: CpuTimes) -> bool:
        if (stolen_share(before, after) or 0.0) > STOLEN_PART:
            return True
        surroundings = self._surroundings
        if surroundings is None or self._reports_waits():
            return False
        free_cores = max(0.0, surroundings.usable_cores - self._threads)
        return (cores_used_by_others(before, after) or 0.0) > free_cores + CROWDED_CORES

    def _reports_waits(self) -> bool:
        last_round = self.rounds[-1] if self.rounds else {}
        return all(timed.waited_ns is not None for timed in last_round.values())


def _waited(calls: Iterable[Timed], part: float) -> bool:
    """Whether a thread of one of the calls waited longer than a fraction of it."""
    return any((call.waited_ns or 0) > max(WAITED_NS, part * call.time_ns) for call in calls)
