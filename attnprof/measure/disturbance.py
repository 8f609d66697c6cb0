"""Rounds of timed calls, and which of them something else on the machine disturbed.

A threaded call waits for its slowest thread: where another process keeps one of its threads from a
core, it may take several times as long, and some kernels suffer far more than others. So a round in
which that was seen says nothing of any of its calls. It is left out for all of them, which keeps
the pairs; where too few rounds are left, there is no verdict.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from attnprof.analysis.noise import OTHERS_CORES, describe_disturbance
from attnprof.measure.busy_processes import Snapshot, busy_between, snapshot
from attnprof.measure.system_load import (
    CpuTimes,
    conditions,
    cores_used_by_others,
    cores_within_quota,
    cpu_times,
    started_seconds,
    stolen_share,
)

Key = TypeVar("Key")

WAITED_PART = 0.03
"""A call is disturbed when one of its threads waited for a core for more than this part of it.
Beside one busy process on two cores it is half of the call, on a quiet machine a hundredth."""
WAITED_NS = 100_000
"""Shorter waits are those of any thread that is woken."""
LONG_WAIT_PART = 0.25
"""Beyond this part a thread was kept from a core even where no other process is seen: containers
may hide who else is on the machine."""
STOLEN_PART = 0.03
"""Rounds are disturbed while the hypervisor takes more than this part of all cores' time."""
BLOCK_SECONDS = 0.25
"""System-wide times are looked at this often: they are counted in steps of 0.01 s."""
CROWDED_CORES = 0.3
"""Where a system does not tell how long threads wait: rounds are disturbed while more than this is
missing of the cores that its threads need."""
REPORTED_PART = 0.1
"""It is told when more than this part of the rounds was disturbed."""
ENOUGH_ROUNDS = 4
"""Fewer undisturbed rounds give no verdict: an interval of fewer says nothing."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One timed call.

    Attributes:
        time_ns: that it took.
        waited_ns: the longest that one of its threads waited for a core; None where the system
            does not tell.
    """

    time_ns: int
    waited_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Environs:
    """What else goes on while calls are timed.

    Attributes:
        look: at the load until now.
        threads: tells how many threads a call computes with.
        usable_cores: that they may run on.
        clock: in seconds.
    """

    cpu_times: Callable[[], CpuTimes]
    threads: Callable[[], int]
    usable_cores: float
    clock: Callable[[], float] = time.monotonic


def surroundings_here() -> Environs:
    """Those of calls that run in this process."""
    import torch

    return Environs(
        lambda: cpu_times(started_seconds()), torch.get_num_threads, cores_within_quota()
    )


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What disturbed the rounds of one measurement.

    Attributes:
        rounds: that ran.
        left_out: those that were disturbed.
        is_withheld: whether too few others are left; then times are those of all rounds, and
            nothing follows from their ratios.
        before: the load when the rounds began; None where nobody looked.
        after: the load at their end.
        tells_waits: whether the system told how long threads waited.
    """

    rounds: int = 0
    left_out: int = 0
    is_withheld: bool = False
    before: CpuTimes | None = None
    after: CpuTimes | None = None
    tells_waits: bool = True


def describe_disturbance_of(
    seen: Disturbance, threads: Callable[[], int], processes: Snapshot
) -> str:
    """What disturbed rounds and what helps, in a sentence; empty where few of them were.

    Args:
        seen: the disturbance.
        threads: tells how many threads a call computes with.
        processes: as they were before the rounds.
    """
    if not seen.left_out or not (seen.is_withheld or seen.left_out > REPORTED_PART * seen.rounds):
        return ""
    cause, remedy = "threads waited for a core", "close other programs"
    if seen.before is not None and seen.after is not None:
        cause, remedy = describe_disturbance(
            conditions(seen.before, seen.after, threads()),
            busy_between(processes, snapshot()),
            tells_waits=seen.tells_waits,
        )
    if seen.is_withheld:
        return f"not measurable now: {cause}; {remedy}"
    return f"{seen.left_out} of {seen.rounds} rounds are left out: {cause}"


class RoundLog(Generic[Key]):
    """Rounds as they are run, and what was seen around them.

    Args:
        surroundings: None to look at the calls' own waits alone.
    """

    def __init__(self, surroundings: Environs | None) -> None:
        self.rounds: list[dict[Key, Timed]] = []
        self._surroundings = surroundings
        self._in_bad_block: list[bool] = []
        self._threads = surroundings.threads() if surroundings else 1
        self._begun = self._looked = surroundings.cpu_times() if surroundings else None
        self._looked_at = surroundings.clock() if surroundings else 0.0

    def add(self, taken: Mapping[Key, Timed]) -> None:
        """Keep a round."""
        self.rounds.append(dict(taken))
        one = self._surroundings
        if one is not None and one.clock() - self._looked_at >= BLOCK_SECONDS:
            self.check_load()

    def check_load(self) -> None:
        """Judge the rounds since the last look by the load of the whole machine meanwhile."""
        one, before = self._surroundings, self._looked
        if one is None or before is None or len(self._in_bad_block) == len(self.rounds):
            return
        self._looked, self._looked_at = one.cpu_times(), one.clock()
        is_bad = self._is_bad(before, self._looked)
        self._in_bad_block += [is_bad] * (len(self.rounds) - len(self._in_bad_block))

    def restart_load(self) -> None:
        """Forget the load until now: it was that of a process of this run which has ended."""
        if self._surroundings is not None:
            self._in_bad_block += [False] * (len(self.rounds) - len(self._in_bad_block))
            self._begun = self._looked = self._surroundings.cpu_times()
            self._looked_at = self._surroundings.clock()

    def undisturbed(self) -> list[dict[Key, Timed]]:
        """The rounds that nothing else disturbed, as far as is known by now."""
        limit = self._limit()
        bad = [*self._in_bad_block, *[False] * (len(self.rounds) - len(self._in_bad_block))]
        return [
            taken
            for taken, is_bad in zip(self.rounds, bad, strict=True)
            if not is_bad and not _waited(taken.values(), limit)
        ]

    def disturbance(self) -> Disturbance:
        """What disturbed the rounds, in all."""
        left = len(self.undisturbed())
        return Disturbance(
            rounds=len(self.rounds),
            left_out=len(self.rounds) - left,
            is_withheld=left < min(ENOUGH_ROUNDS, len(self.rounds)),
            before=self._begun,
            after=self._looked,
            tells_waits=self._tells_waits(),
        )

    def _limit(self) -> float:
        """The part of a call that one of its threads may wait, by who there is to wait for."""
        one = self._surroundings
        if one is None or self._begun is None or self._looked is None:
            return WAITED_PART
        if (cores_used_by_others(self._begun, self._looked) or 0.0) >= OTHERS_CORES:
            return WAITED_PART
        return LONG_WAIT_PART if self._threads <= one.usable_cores else float("inf")

    def _is_bad(self, before: CpuTimes, after: CpuTimes) -> bool:
        if (stolen_share(before, after) or 0.0) > STOLEN_PART:
            return True
        one = self._surroundings
        if one is None or self._tells_waits():
            return False
        free = max(0.0, one.usable_cores - self._threads)
        return (cores_used_by_others(before, after) or 0.0) > free + CROWDED_CORES

    def _tells_waits(self) -> bool:
        return all(one.waited_ns is not None for one in (self.rounds or [{}])[-1].values())


def _waited(calls: Iterable[Timed], part: float) -> bool:
    """Whether a thread of one of the calls waited longer than a part of it."""
    return any((one.waited_ns or 0) > max(WAITED_NS, part * one.time_ns) for one in calls)
