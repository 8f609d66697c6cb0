"""Wall time of calls in interleaved rounds: each call once per round, in a fresh random order.

Drift of a shared machine affects all calls of a round alike, so ratios of paired rounds are
unbiased. Every second round runs in the reverse order of the round before: the first call of a
round may take 7 % longer, and in three randomly ordered rounds the same call comes first by chance
too often.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from attnprof.core.intervals import median_interval, paired_ratio
from attnprof.core.verdict import MOST_ROUNDS, TARGET_RELATIVE_WIDTH, verdict
from attnprof.measure.disturbance import (
    MIN_UNDISTURBED_ROUNDS,
    Disturbance,
    RoundLog,
    Surroundings,
    Timed,
)
from attnprof.measure.system_load import longest_wait_ns, thread_waits

Key = TypeVar("Key")
Run = Callable[[], object]
Timer = Callable[[Run], Timed]
"""Runs a function once and returns its time."""
OnRound = Callable[[int, float], None]
"""Called after each round with the number of rounds so far, and the fraction of all that is done,
0 to 1, unless they end early."""
Settled = Callable[[Mapping[Key, list[int]]], bool]
"""Whether times in nanoseconds, by name, need no further rounds."""

MIN_ROUNDS = 8
"""Rounds before the intervals are checked for the first time. With fewer rounds, some agree so
well by chance that the interval looks narrow."""
MIN_ROUNDS_BEYOND_BUDGET = MIN_UNDISTURBED_ROUNDS
"""Rounds that run however long they take: fewer give no usable interval."""
STEADY = 0.05
"""A call is warm once it is no longer faster than the best call before it by this fraction."""
WARM_UP_WITHIN = 0.1
"""A call is warmed up again as long as its warm-up has taken less than this fraction of the
budget."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many seconds the rounds of one measurement may take together, by which clock."""

    seconds: float
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class MeasuredRounds(Generic[Key]):
    """The result of timing in rounds.

    Attributes:
        times: nanoseconds by name, one per round. Only undisturbed rounds that all of these names
            ran are included; if the verdict is withheld, all rounds are.
        failures: exceptions by name.
        disturbance: what other work on the machine did to the rounds.
    """

    times: dict[Key, list[int]]
    failures: dict[Key, Exception]
    disturbance: Disturbance


def measure_rounds(
    runs: Mapping[Key, Run],
    timer: Timer,
    budget: Budget,
    *,
    on_round: OnRound = lambda rounds, part: None,
    order: random.Random | None = None,
    precision: float = TARGET_RELATIVE_WIDTH,
    reference: Key | None = None,
    is_settled: Settled[Key] | None = None,
    surroundings: Surroundings | None = None,
) -> MeasuredRounds[Key]:
    """Time all runs in rounds until the results are settled or the budget is spent.

    Results are settled when every ratio to the reference has an interval narrower than `precision`
    and a verdict that more rounds would not change. Without a reference, the intervals of the
    medians must be narrow. A run that raises is dropped; the others continue. Rounds that other
    work on the machine disturbed are discarded, see `attnprof.measure.disturbance`.

    Args:
        runs: what to time, by name.
        timer: `cpu_timer`, or the result of `cuda_timer()`.
        budget: for the rounds; warm-up comes before and is not included.
        on_round: called after each round with the number of rounds, and the fraction done if the
            budget is spent.
        order: shuffles the runs of a round.
        precision: target width of an interval, as a fraction of its median.
        reference: the run that the others are compared with. If it fails or is not among `runs`,
            each run is judged by its own median.
        is_settled: replaces the check of intervals and verdicts. It is called now and then with
            the times so far and returns whether they suffice.
        surroundings: reads the load of the rest of the machine; None for no readings.
    """
    if is_settled is None:
        is_settled = partial(_are_settled, reference=reference, precision=precision)
    rounds = _Rounds(runs, timer, budget, is_settled)
    rounds.warm_up()
    return rounds.run(order or random.Random(), on_round, surroundings)


class _Rounds(Generic[Key]):
    """The rounds of one measurement: which runs have failed, and when to check for the end.

    Args:
        runs: what to time, by name.
        timer: times one run.
        budget: for all rounds.
        is_settled: whether the times so far suffice.
    """

    def __init__(
        self, runs: Mapping[Key, Run], timer: Timer, budget: Budget, is_settled: Settled[Key]
    ) -> None:
        self._runs = runs
        self._timer = timer
        self._budget = budget
        self._is_settled = is_settled
        self._failures: dict[Key, Exception] = {}
        self._next_check = MIN_ROUNDS

    def warm_up(self) -> None:
        """Warm up every run, within its share of the budget."""
        limit_ns = WARM_UP_WITHIN * self._budget.seconds * 1e9
        for key in self._runs:
            _warm_up(partial(self._attempt, key), limit_ns)

    def run(
        self,
        order: random.Random,
        on_round: OnRound,
        surroundings: Surroundings | None,
    ) -> MeasuredRounds[Key]:
        """Run rounds until they suffice or the budget is spent."""
        log = RoundLog[Key](surroundings)
        start = self._budget.clock()
        for keys in _orders(self._runs, self._failures, order):
            self._run_round(keys, log)
            spent_seconds = self._budget.clock() - start
            count = len(log.rounds)
            # The least number of rounds may take longer than the budget.
            parts = (spent_seconds / self._budget.seconds, count / MIN_ROUNDS_BEYOND_BUDGET)
            on_round(count, min(1.0, *parts))
            if self._is_done(log, spent_seconds):
                break
        log.check_load()
        disturbance = log.disturbance()
        rounds = log.rounds if disturbance.is_withheld else log.undisturbed()
        return MeasuredRounds(_by_key(rounds, self._failures), self._failures, disturbance)

    def _attempt(self, key: Key) -> Timed | None:
        """Time one call; None if it fails. A failing kernel is a result; the others continue."""
        try:
            return self._timer(self._runs[key])
        except Exception as error:
            self._failures[key] = error
            return None

    def _run_round(self, keys: list[Key], log: RoundLog[Key]) -> None:
        failures_before = len(self._failures)
        times = {key: self._attempt(key) for key in keys}
        log.add({key: timed for key, timed in times.items() if timed is not None})
        if len(self._failures) > failures_before:
            log.restart_load()

    def _is_done(self, log: RoundLog[Key], spent_seconds: float) -> bool:
        count = len(log.rounds)
        if spent_seconds >= self._budget.seconds and count >= MIN_ROUNDS_BEYOND_BUDGET:
            return True
        if count < self._next_check:
            return False
        # Every check may stop too early by chance: checks are few, and ever farther apart.
        self._next_check = count + max(1, count // 4)
        undisturbed = log.undisturbed()
        if len(undisturbed) < MIN_ROUNDS:
            return False
        return self._is_settled(_by_key(undisturbed, self._failures))


def _orders(
    runs: Mapping[Key, Run], failures: Mapping[Key, Exception], order: random.Random
) -> Iterator[list[Key]]:
    """The runs of each round: a random order, then its reverse; ends when all runs have failed."""
    keys = list(runs)
    for index in range(MOST_ROUNDS):
        keys = [key for key in (reversed(keys) if index % 2 else runs) if key not in failures]
        if not keys:
            return
        if index % 2 == 0:
            order.shuffle(keys)
        yield keys


def _warm_up(attempt: Callable[[], Timed | None], limit_ns: float) -> None:
    """Repeat a call, at least once, until it is no longer clearly faster than the best before."""
    best_ns, spent_ns = None, 0
    while (timed := attempt()) is not None:
        spent_ns += timed.time_ns
        is_steady = best_ns is not None and timed.time_ns >= best_ns * (1 - STEADY)
        if is_steady or spent_ns >= limit_ns:
            break
        best_ns = timed.time_ns


def _are_settled(times: Mapping[Key, list[int]], reference: Key | None, precision: float) -> bool:
    """Whether more rounds would change nothing, to the requested precision."""
    others = [key for key in times if key != reference]
    if reference is None or reference not in times or not others:
        return all(median_interval(t).relative_width < precision for t in times.values())
    for key in others:
        speed = paired_ratio(times[reference], times[key])
        if speed.relative_width >= precision:
            return False
        comparison = verdict(speed, len(times[key]))
        if comparison.outcome == "undecided" and not comparison.is_too_close:
            return False
    return True


def _by_key(
    rounds: list[dict[Key, Timed]], failures: Mapping[Key, Exception]
) -> dict[Key, list[int]]:
    """Nanoseconds of each run that has not failed, one per round."""
    keys = [key for key in rounds[0] if key not in failures] if rounds else []
    return {key: [times[key].time_ns for times in rounds] for key in keys}


def cpu_timer(run: Run) -> Timed:
    """Time one call on the CPU."""
    before = thread_waits()
    start = time.perf_counter_ns()
    run()
    time_ns = time.perf_counter_ns() - start
    return Timed(time_ns, longest_wait_ns(before, thread_waits()))


def cuda_timer() -> Timer:
    """A timer for CUDA: events around the call, with the L2 cache flushed before it.

    The flush writes a buffer of twice the size of the cache. Otherwise the data of an earlier call
    would be read from the cache, which the other layers of a network would have overwritten.
    Waits of threads are recorded while they launch work; waiting for the device does not count as
    a disturbance.
    """
    import torch

    cache_bytes = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
    flush = torch.empty(2 * cache_bytes, dtype=torch.int8, device="cuda")

    def timer(run: Run) -> Timed:
        flush.zero_()
        begin = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        before = thread_waits()
        begin.record()
        run()
        end.record()
        waited_ns = longest_wait_ns(before, thread_waits())
        torch.cuda.synchronize()
        return Timed(round(begin.elapsed_time(end) * 1e6), waited_ns)

    return timer
