"""Wall time of calls in interleaved rounds: each call once a round, in a fresh random order.

Drift of a shared machine hits all calls of a round alike, so ratios from paired rounds stay honest.
Every second round runs in the reverse order of the one before: the first call of a round may take
7 % longer, and of three rounds all have the same one first by chance too often.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from attnprof.core.intervals import median_interval, paired_ratio
from attnprof.core.verdict import MOST_ROUNDS, TARGET_RELATIVE_WIDTH, verdict
from attnprof.measure.disturbance import ENOUGH_ROUNDS, Disturbance, Environs, RoundLog, Timed
from attnprof.measure.system_load import longest_wait_ns, thread_waits

Key = TypeVar("Key")
Run = Callable[[], object]
Timer = Callable[[Run], Timed]
"""Runs a function once and returns what it took."""

MIN_ROUNDS = 8
"""Rounds before the intervals are asked whether they are narrow enough: of fewer, some agree by
chance so well that the interval looks narrow where it is only lucky."""
MIN_ROUNDS_BEYOND_BUDGET = ENOUGH_ROUNDS
"""Rounds that run whatever they take: an interval of fewer says nothing."""
STEADY = 0.05
"""A call is warm when it no longer takes less than the best before it by this part."""
WARM_UP_WITHIN = 0.1
"""A call is warmed up again while its own warm-up took less than this part of the budget."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long the rounds of one measurement may take together, and the clock that says so."""

    seconds: float
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Measured(Generic[Key]):
    """What rounds say.

    Attributes:
        times: nanoseconds by name, in rounds that all of these names ran and nothing disturbed; in
            all rounds where a verdict is withheld.
        failures: the exceptions by name.
        disturbance: what else there was on the machine.
    """

    times: dict[Key, list[int]]
    failures: dict[Key, Exception]
    disturbance: Disturbance


def measure_rounds(
    runs: Mapping[Key, Run],
    timer: Timer,
    budget: Budget,
    *,
    on_round: Callable[[float], None] = lambda _: None,
    order: random.Random | None = None,
    precision: float = TARGET_RELATIVE_WIDTH,
    reference: Key | None = None,
    is_settled: Callable[[Mapping[Key, list[int]]], bool] | None = None,
    surroundings: Environs | None = None,
) -> Measured[Key]:
    """Time all runs in rounds until what they say is settled or the budget is spent.

    Settled are ratios to the reference with intervals as narrow as `precision`, and with a verdict
    that more rounds would not bring; without a reference, the narrow intervals of medians. A run
    that raises is left out from then on; the others go on. Rounds that something else on the
    machine disturbed are left out, see `attnprof.measure.disturbance`.

    Args:
        runs: what to time, by name.
        timer: see `cpu_timer` and `cuda_timer`.
        budget: for the rounds; the warm-up comes before.
        on_round: told the part of the budget that is spent, 0 to 1, after each round.
        order: shuffles the runs of a round.
        precision: the width of an interval as a part of its median.
        reference: the run that the others are compared with. It may fail, or not be among them:
            then each is judged by its own median.
        is_settled: asked now and then whether the times so far say enough; in place of intervals
            and verdicts.
        surroundings: tell what else the machine does meanwhile.
    """
    order = order or random.Random()
    failures: dict[Key, Exception] = {}

    def attempt(key: Key) -> Timed | None:
        try:
            return timer(runs[key])
        except Exception as error:
            # A failing kernel is a result of its own; the others go on.
            failures[key] = error
            return None

    def says_enough(undisturbed: list[dict[Key, Timed]]) -> bool:
        times = _by_key(undisturbed, failures)
        return is_settled(times) if is_settled else _are_settled(times, reference, precision)

    for key in runs:
        _warm_up(lambda key=key: attempt(key), WARM_UP_WITHIN * budget.seconds * 1e9)
    log = RoundLog[Key](surroundings)
    begun, next_check = budget.clock(), MIN_ROUNDS
    for keys in _orders(runs, failures, order):
        has_failed = len(failures)
        times = {key: attempt(key) for key in keys}
        log.add({key: taken for key, taken in times.items() if taken is not None})
        if len(failures) > has_failed:
            log.restart_load()
        count, spent = len(log.rounds), budget.clock() - begun
        on_round(min(1.0, spent / budget.seconds))
        if spent >= budget.seconds and count >= MIN_ROUNDS_BEYOND_BUDGET:
            break
        if count >= next_check:
            # Each look is a chance to be fooled: there are few, ever farther apart.
            next_check = count + max(1, count // 4)
            undisturbed = log.undisturbed()
            if len(undisturbed) >= MIN_ROUNDS and says_enough(undisturbed):
                break
    log.check_load()
    seen = log.disturbance()
    rounds = log.rounds if seen.is_withheld else log.undisturbed()
    return Measured(_by_key(rounds, failures), failures, seen)


def _orders(
    runs: Mapping[Key, Run], failures: Mapping[Key, Exception], order: random.Random
) -> Iterator[list[Key]]:
    """What each round runs, in turn: an order, then its reverse; none where all have failed."""
    keys = list(runs)
    for index in range(MOST_ROUNDS):
        keys = [key for key in (reversed(keys) if index % 2 else runs) if key not in failures]
        if not keys:
            return
        if index % 2 == 0:
            order.shuffle(keys)
        yield keys


def _warm_up(attempt: Callable[[], Timed | None], limit_ns: float) -> None:
    """Repeat a call until it is no longer clearly faster than the best before, once at least."""
    best_ns, spent_ns = None, 0
    while (taken := attempt()) is not None:
        taken_ns = taken.time_ns
        spent_ns += taken_ns
        is_steady = best_ns is not None and taken_ns >= best_ns * (1 - STEADY)
        if is_steady or spent_ns >= limit_ns:
            break
        best_ns = taken_ns


def _are_settled(times: Mapping[Key, list[int]], reference: Key | None, precision: float) -> bool:
    """Whether more rounds would say no more, to the precision that is asked for."""
    others = [key for key in times if key != reference]
    if reference is None or reference not in times or not others:
        return all(median_interval(t).relative_width < precision for t in times.values())
    for key in others:
        speed = paired_ratio(times[reference], times[key])
        if speed.relative_width >= precision:
            return False
        told = verdict(speed, len(times[key]))
        if told.outcome == "undecided" and not told.is_too_close:
            return False
    return True


def _by_key(
    rounds: list[dict[Key, Timed]], failures: Mapping[Key, Exception]
) -> dict[Key, list[int]]:
    keys = [key for key in rounds[0] if key not in failures] if rounds else []
    return {key: [times[key].time_ns for times in rounds] for key in keys}


def cpu_timer(run: Run) -> Timed:
    """One call on the CPU."""
    before = thread_waits()
    begun = time.perf_counter_ns()
    run()
    time_ns = time.perf_counter_ns() - begun
    return Timed(time_ns, longest_wait_ns(before, thread_waits()))


def cuda_timer() -> Timer:
    """A timer for CUDA: events around the call, the L2 cache flushed before it.

    The flush writes a buffer of twice the cache, as an earlier call's data would otherwise be read
    from the cache, which a network's other layers would have overwritten. Threads are watched while
    they launch: what they wait for the device is no disturbance.
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
