"""Time with a fake clock and fake kernels; memory with allocations of known size."""

from __future__ import annotations

import math
import random

import pytest

from attnprof.core.intervals import paired_ratio
from attnprof.core.verdict import TARGET_RELATIVE_WIDTH, verdict
from attnprof.measure import rounds
from attnprof.measure.disturbance import Timed
from attnprof.measure.rounds import Budget, measure_rounds


class Bench:
    """A clock that only kernels move, and the order in which they ran."""

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
    taken = measure_rounds(*args, **options)
    return taken.times, taken.failures, taken.disturbance


def test_rounds_run_every_kernel_once_in_changing_order() -> None:
    bench = Bench()
    runs = {name: bench.kernel(name, 10, 30) for name in "abc"}
    times, failures, _ = measured(runs, bench.timer, bench.budget(1), order=random.Random(0))
    assert not failures
    orders = [bench.ran[i : i + 3] for i in range(6, len(bench.ran), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert len({tuple(order) for order in orders[::2]}) > 1
    assert [order[::-1] for order in orders[0::2]][: len(orders) // 2] == orders[1::2]
    assert {len(samples) for samples in times.values()} == {len(orders)}


def test_steady_kernels_stop_early() -> None:
    bench = Bench()
    times, *_ = measured({"a": bench.kernel("a", 100)}, bench.timer, bench.budget(1))
    assert times == {"a": [100] * rounds.MIN_ROUNDS}


def test_noisy_kernels_stop_with_the_budget() -> None:
    bench = Bench()
    runs = {"a": bench.kernel("a", 10**6, 3 * 10**6)}
    times, *_ = measured(runs, bench.timer, bench.budget(0.1))
    assert 0.1 <= sum(times["a"]) / 1e9 < 0.104


def test_slow_kernels_are_warmed_up_once_and_run_three_rounds_whatever_they_take() -> None:
    bench = Bench()
    times, *_ = measured({"a": bench.kernel("a", 10**9)}, bench.timer, bench.budget(0.5))
    assert times == {"a": [10**9] * rounds.MIN_ROUNDS_BEYOND_BUDGET}
    assert len(bench.ran) == rounds.MIN_ROUNDS_BEYOND_BUDGET + 1


@pytest.mark.parametrize("fails_at", [0, 1, 2, 4])
def test_a_failing_kernel_leaves_the_others_their_rounds(fails_at: int) -> None:
    bench = Bench()
    runs = {"good": bench.kernel("good", 10, 30), "bad": bench.kernel("bad", 5, fails_at=fails_at)}
    times, failures, _ = measured(runs, bench.timer, bench.budget(1e-6))
    assert list(times) == ["good"]
    assert [str(error) for error in failures.values()] == ["bad broke"]
    assert len(times["good"]) >= rounds.MIN_ROUNDS_BEYOND_BUDGET


def test_no_kernel_left_ends_the_rounds() -> None:
    bench = Bench()
    times, failures, _ = measured(
        {"a": bench.kernel("a", 1, fails_at=0)}, bench.timer, bench.budget(1)
    )
    assert (times, list(failures)) == ({}, ["a"])


def test_on_round_is_told_the_part_of_the_budget() -> None:
    bench, told = Bench(), []
    measure_rounds(
        {"a": bench.kernel("a", 10**8)}, bench.timer, bench.budget(0.4), on_round=told.append
    )
    assert told == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_a_call_is_warmed_up_until_it_is_steady() -> None:
    bench = Bench()
    warming = [1000, 800, 600, 590, 600]
    times, *_ = measured(
        {"a": bench.kernel("a", *warming, *[600] * 1000)}, bench.timer, bench.budget(1)
    )
    assert set(times["a"]) == {600}
    assert len(bench.ran) == 4 + len(times["a"])


def test_warm_up_ends_with_its_share_of_the_budget() -> None:
    bench = Bench()
    falling = [round(10**8 * 0.9**index) for index in range(100)]
    measure_rounds({"a": bench.kernel("a", *falling)}, bench.timer, bench.budget(1.5))
    assert bench.ran.count("a") > 2
    rounds_begin = sum(falling[:2])
    assert falling[0] < rounds.WARM_UP_WITHIN * 1.5e9 <= rounds_begin


def noisy(bench: Bench, name: str, nanoseconds: float, noise: float, draw: random.Random):
    def run() -> None:
        bench.ran.append(name)
        bench.now_ns += round(nanoseconds * math.exp(draw.gauss(0, noise)))

    return run


def rounds_of(speed: float, noise: float, *, seed: int = 0, **options) -> dict[str, list[int]]:
    """A kernel of 20 ms beside one that is so many times as fast, within 15 s."""
    bench, draw = Bench(), random.Random(seed)
    runs = {
        "one": noisy(bench, "one", 20e6, noise, draw),
        "other": noisy(bench, "other", 20e6 / speed, noise, draw),
    }
    options = {"reference": "one", **options}
    return measure_rounds(runs, bench.timer, bench.budget(15), order=draw, **options).times


def test_rounds_end_when_the_ratios_are_narrow_though_the_times_are_not() -> None:
    bench = Bench()
    drift = [100, 300, 150, 420]
    runs = {"one": bench.kernel("one", *drift), "other": bench.kernel("other", *drift)}
    times, *_ = measured(runs, bench.timer, bench.budget(1), reference="one")
    assert len(times["one"]) == rounds.MIN_ROUNDS
    times, *_ = measured(runs, bench.timer, bench.budget(1e-5))
    assert len(times["one"]) > rounds.MIN_ROUNDS


def test_more_precision_takes_more_rounds() -> None:
    wide, narrow = rounds_of(1.5, 0.03), rounds_of(1.5, 0.03, precision=0.02)
    for times, precision in ((wide, TARGET_RELATIVE_WIDTH), (narrow, 0.02)):
        assert paired_ratio(times["one"], times["other"]).relative_width < precision
    assert len(narrow["one"]) > 2 * len(wide["one"])


def test_undecided_ratios_have_more_rounds_than_those_that_are_decided() -> None:
    decided, near = (
        sum(len(rounds_of(speed, 0.04, seed=seed)["one"]) for seed in range(8))
        for speed in (1.5, 1.02)
    )
    assert near > 1.5 * decided


def test_a_reference_that_fails_leaves_the_others_to_be_judged_by_their_medians() -> None:
    bench = Bench()
    runs = {"one": bench.kernel("one", 10, fails_at=4), "other": bench.kernel("other", 10)}
    times, failures, _ = measured(runs, bench.timer, bench.budget(1), reference="one")
    assert (list(times), list(failures)) == (["other"], ["one"])
    assert len(times["other"]) == rounds.MIN_ROUNDS


class BusyMachine(Bench):
    """A clock that runs ahead in bursts, in which whatever runs takes longer."""

    def __init__(self, draw: random.Random, noise: float, burst_ns: float) -> None:
        super().__init__()
        self.draw, self.noise, self.burst_ns = draw, noise, burst_ns
        self.is_slow, self.turns_ns = False, draw.expovariate(1 / burst_ns)

    def work(self, nanoseconds: float) -> None:
        left = nanoseconds * math.exp(self.draw.gauss(0, self.noise))
        if self.draw.random() < 0.02:
            left *= 1 + self.draw.paretovariate(1.5) / 3
        # A burst may begin or end in the middle of a call.
        while self.now_ns + left * (1 + 0.6 * self.is_slow) > self.turns_ns:
            left -= (self.turns_ns - self.now_ns) / (1 + 0.6 * self.is_slow)
            self.now_ns, self.is_slow = round(self.turns_ns), not self.is_slow
            self.turns_ns = self.now_ns + 1 + self.draw.expovariate(1 / self.burst_ns)
        self.now_ns += round(max(left, 0) * (1 + 0.6 * self.is_slow))


def outcome(machine: BusyMachine, call_ns: float, seconds: float, speed: float = 1.0) -> str:
    runs = {"one": lambda: machine.work(call_ns), "other": lambda: machine.work(call_ns / speed)}
    times, *_ = measured(
        runs, machine.timer, machine.budget(seconds), order=machine.draw, reference="one"
    )
    return verdict(paired_ratio(times["one"], times["other"]), len(times["one"])).outcome


@pytest.mark.parametrize(("call_ns", "seconds"), [(20e6, 2), (400e6, 4)])
def test_a_kernel_against_itself_is_called_in_less_than_one_per_cent(
    call_ns: float, seconds: float
) -> None:
    draw = random.Random(1)
    called = [
        outcome(BusyMachine(draw, noise, calls * call_ns), call_ns, seconds) != "undecided"
        for noise in (0.01, 0.06, 0.15)
        for calls in (3, 20, 200)
        for _ in range(120)
    ]
    assert len(called) > 1000
    assert sum(called) <= 0.01 * len(called)


def test_what_runs_first_in_a_round_takes_longer_and_is_not_called_slower() -> None:
    draw = random.Random(3)

    def called() -> bool:
        bench = Bench()

        def run() -> None:
            bench.ran.append("")
            is_first = len(bench.ran) % 2
            bench.now_ns += round(1e8 * (1 + 0.07 * is_first) * math.exp(draw.gauss(0, 0.003)))

        # One warm-up of each comes before the rounds: an even number in all.
        times, *_ = measured(
            {"one": run, "other": run}, bench.timer, bench.budget(0.7), order=draw, reference="one"
        )
        return verdict(paired_ratio(times["one"], times["other"])).outcome != "undecided"

    assert sum(called() for _ in range(300)) <= 3


def test_five_per_cent_are_found_within_fifteen_seconds() -> None:
    draw = random.Random(2)
    for speed, expected in ((1.05, "faster"), (1 / 1.05, "slower")):
        outcomes = [
            outcome(BusyMachine(draw, 0.06 / math.sqrt(2), 20 * 20e6), 20e6, 15, speed)
            for _ in range(20)
        ]
        assert outcomes.count(expected) >= 19
