"""Timing in rounds, with a fake clock and fake kernels."""

from __future__ import annotations

import math
import random

import pytest

from attnprof.core.intervals import paired_ratio
from attnprof.core.verdict import TARGET_RELATIVE_WIDTH, verdict
from attnprof.measure import rounds
from attnprof.measure.disturbance import Timed
from attnprof.measure.rounds import Budget, measure_rounds


class FakeClock:
    """A clock that only kernels advance, and the order in which they ran."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.ran: list[str] = []

    def kernel(self, name: str, *times_ns: int, fails_at: int | None = None):
        runs = iter(range(100_000))

        def run() -> None:
            index = next(runs)
            if index == fails_at:
                raise RuntimeError(f"{name} broke")
            self.ran.append(name)
            self.now_ns += times_ns[index % len(times_ns)]

        return run

    def timer(self, run) -> Timed:
        before = self.now_ns
        run()
        return Timed(self.now_ns - before, 0)

    def budget(self, seconds: float) -> Budget:
        return Budget(seconds, lambda: self.now_ns / 1e9)


def measured(*args, **options):
    """Times, failures and disturbance of rounds."""
    result = measure_rounds(*args, **options)
    return result.times, result.failures, result.disturbance


def test_rounds_run_every_kernel_once_in_changing_order() -> None:
    clock = FakeClock()
    runs = {name: clock.kernel(name, 10, 30) for name in "abc"}
    times, failures, _ = measured(runs, clock.timer, clock.budget(1), order=random.Random(0))
    assert not failures
    orders = [clock.ran[i : i + 3] for i in range(6, len(clock.ran), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert len({tuple(order) for order in orders[::2]}) > 1
    assert [order[::-1] for order in orders[0::2]][: len(orders) // 2] == orders[1::2]
    assert {len(samples) for samples in times.values()} == {len(orders)}


def test_steady_kernels_stop_early() -> None:
    clock = FakeClock()
    times, *_ = measured({"a": clock.kernel("a", 100)}, clock.timer, clock.budget(1))
    assert times == {"a": [100] * rounds.MIN_ROUNDS}


def test_noisy_kernels_stop_with_the_budget() -> None:
    clock = FakeClock()
    runs = {"a": clock.kernel("a", 10**6, 3 * 10**6)}
    times, *_ = measured(runs, clock.timer, clock.budget(0.1))
    assert 0.1 <= sum(times["a"]) / 1e9 < 0.104


def test_slow_kernels_are_warmed_up_once_and_run_the_minimum_of_rounds() -> None:
    clock = FakeClock()
    times, *_ = measured({"a": clock.kernel("a", 10**9)}, clock.timer, clock.budget(0.5))
    assert times == {"a": [10**9] * rounds.MIN_ROUNDS_BEYOND_BUDGET}
    assert len(clock.ran) == rounds.MIN_ROUNDS_BEYOND_BUDGET + 1


@pytest.mark.parametrize("fails_at", [0, 1, 2, 4])
def test_a_failing_kernel_leaves_the_others_their_rounds(fails_at: int) -> None:
    clock = FakeClock()
    runs = {"good": clock.kernel("good", 10, 30), "bad": clock.kernel("bad", 5, fails_at=fails_at)}
    times, failures, _ = measured(runs, clock.timer, clock.budget(1e-6))
    assert list(times) == ["good"]
    assert [str(error) for error in failures.values()] == ["bad broke"]
    assert len(times["good"]) >= rounds.MIN_ROUNDS_BEYOND_BUDGET


def test_rounds_end_when_all_kernels_have_failed() -> None:
    clock = FakeClock()
    times, failures, _ = measured(
        {"a": clock.kernel("a", 1, fails_at=0)}, clock.timer, clock.budget(1)
    )
    assert (times, list(failures)) == ({}, ["a"])


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(0.8, [0.125 * n for n in range(1, 9)]), (0.1, [0.25, 0.5, 0.75, 1.0])],
    ids=["budget", "beyond the budget"],
)
def test_on_round_gets_the_fraction_that_is_done(budget: float, expected: list[float]) -> None:
    clock, fractions = FakeClock(), []
    measure_rounds(
        {"a": clock.kernel("a", 10**8)},
        clock.timer,
        clock.budget(budget),
        on_round=lambda rounds, part: fractions.append((rounds, part)),
    )
    assert [rounds for rounds, _ in fractions] == list(range(1, len(expected) + 1))
    assert [part for _, part in fractions] == pytest.approx(expected)


def test_a_call_is_warmed_up_until_it_is_steady() -> None:
    clock = FakeClock()
    warming = [1000, 800, 600, 590, 600]
    times, *_ = measured(
        {"a": clock.kernel("a", *warming, *[600] * 1000)}, clock.timer, clock.budget(1)
    )
    assert set(times["a"]) == {600}
    assert len(clock.ran) == 4 + len(times["a"])


def test_warm_up_ends_with_its_share_of_the_budget() -> None:
    clock = FakeClock()
    falling = [round(10**8 * 0.9**index) for index in range(100)]
    measure_rounds({"a": clock.kernel("a", *falling)}, clock.timer, clock.budget(1.5))
    assert clock.ran.count("a") > 2
    rounds_begin = sum(falling[:2])
    assert falling[0] < rounds.WARM_UP_WITHIN * 1.5e9 <= rounds_begin


def noisy(clock: FakeClock, name: str, nanoseconds: float, noise: float, rng: random.Random):
    def run() -> None:
        clock.ran.append(name)
        clock.now_ns += round(nanoseconds * math.exp(rng.gauss(0, noise)))

    return run


def rounds_of(speed: float, noise: float, *, seed: int = 0, **options) -> dict[str, list[int]]:
    """Times of a kernel of 20 ms and of one that is `speed` times as fast, within 15 s."""
    clock, rng = FakeClock(), random.Random(seed)
    runs = {
        "reference": noisy(clock, "reference", 20e6, noise, rng),
        "kernel": noisy(clock, "kernel", 20e6 / speed, noise, rng),
    }
    options = {"reference": "reference", **options}
    return measure_rounds(runs, clock.timer, clock.budget(15), order=rng, **options).times


def test_rounds_end_when_the_ratios_are_narrow_though_the_times_are_not() -> None:
    clock = FakeClock()
    drift = [100, 300, 150, 420]
    runs = {
        "reference": clock.kernel("reference", *drift),
        "kernel": clock.kernel("kernel", *drift),
    }
    times, *_ = measured(runs, clock.timer, clock.budget(1), reference="reference")
    assert len(times["reference"]) == rounds.MIN_ROUNDS
    times, *_ = measured(runs, clock.timer, clock.budget(1e-5))
    assert len(times["reference"]) > rounds.MIN_ROUNDS


def test_more_precision_takes_more_rounds() -> None:
    wide, narrow = rounds_of(1.5, 0.03), rounds_of(1.5, 0.03, precision=0.02)
    for times, precision in ((wide, TARGET_RELATIVE_WIDTH), (narrow, 0.02)):
        assert paired_ratio(times["reference"], times["kernel"]).relative_width < precision
    assert len(narrow["reference"]) > 2 * len(wide["reference"])


def test_undecided_ratios_get_more_rounds_than_decided_ones() -> None:
    decided, near = (
        sum(len(rounds_of(speed, 0.04, seed=seed)["reference"]) for seed in range(8))
        for speed in (1.5, 1.02)
    )
    assert near > 1.5 * decided


def test_without_its_failed_reference_a_run_is_judged_by_its_median() -> None:
    clock = FakeClock()
    runs = {
        "reference": clock.kernel("reference", 10, fails_at=4),
        "kernel": clock.kernel("kernel", 10),
    }
    times, failures, _ = measured(runs, clock.timer, clock.budget(1), reference="reference")
    assert (list(times), list(failures)) == (["kernel"], ["reference"])
    assert len(times["kernel"]) == rounds.MIN_ROUNDS


class BusyMachine(FakeClock):
    """A clock with random bursts in which every call takes longer."""

    def __init__(self, rng: random.Random, noise: float, burst_ns: float) -> None:
        super().__init__()
        self.rng, self.noise, self.burst_ns = rng, noise, burst_ns
        self.is_slow, self.turns_ns = False, rng.expovariate(1 / burst_ns)

    def work(self, nanoseconds: float) -> None:
        left = nanoseconds * math.exp(self.rng.gauss(0, self.noise))
        if self.rng.random() < 0.02:
            left *= 1 + self.rng.paretovariate(1.5) / 3
        # A burst may start or end in the middle of a call.
        while self.now_ns + left * (1 + 0.6 * self.is_slow) > self.turns_ns:
            left -= (self.turns_ns - self.now_ns) / (1 + 0.6 * self.is_slow)
            self.now_ns, self.is_slow = round(self.turns_ns), not self.is_slow
            self.turns_ns = self.now_ns + 1 + self.rng.expovariate(1 / self.burst_ns)
        self.now_ns += round(max(left, 0) * (1 + 0.6 * self.is_slow))


def outcome(machine: BusyMachine, call_ns: float, seconds: float, speed: float = 1.0) -> str:
    runs = {
        "reference": lambda: machine.work(call_ns),
        "kernel": lambda: machine.work(call_ns / speed),
    }
    times, *_ = measured(
        runs, machine.timer, machine.budget(seconds), order=machine.rng, reference="reference"
    )
    return verdict(
        paired_ratio(times["reference"], times["kernel"]), len(times["reference"])
    ).outcome


@pytest.mark.parametrize(("call_ns", "seconds"), [(20e6, 2), (400e6, 4)])
def test_a_kernel_compared_with_itself_gets_a_verdict_in_at_most_one_percent(
    call_ns: float, seconds: float
) -> None:
    rng = random.Random(1)
    has_verdict = [
        outcome(BusyMachine(rng, noise, calls * call_ns), call_ns, seconds) != "undecided"
        for noise in (0.01, 0.06, 0.15)
        for calls in (3, 20, 200)
        for _ in range(120)
    ]
    assert len(has_verdict) > 1000
    assert sum(has_verdict) <= 0.01 * len(has_verdict)


def test_a_slower_first_call_of_a_round_gives_no_verdict() -> None:
    rng = random.Random(3)

    def has_verdict() -> bool:
        clock = FakeClock()

        def run() -> None:
            clock.ran.append("")
            is_first = len(clock.ran) % 2
            clock.now_ns += round(1e8 * (1 + 0.07 * is_first) * math.exp(rng.gauss(0, 0.003)))

        # One warm-up of each run comes before the rounds, an even number in total.
        times, *_ = measured(
            {"reference": run, "kernel": run},
            clock.timer,
            clock.budget(0.7),
            order=rng,
            reference="reference",
        )
        return verdict(paired_ratio(times["reference"], times["kernel"])).outcome != "undecided"

    assert sum(has_verdict() for _ in range(300)) <= 3


def test_a_difference_of_five_percent_is_found_within_fifteen_seconds() -> None:
    rng = random.Random(2)
    for speed, expected in ((1.05, "faster"), (1 / 1.05, "slower")):
        outcomes = [
            outcome(BusyMachine(rng, 0.06 / math.sqrt(2), 20 * 20e6), 20e6, 15, speed)
            for _ in range(20)
        ]
        assert outcomes.count(expected) >= 19
