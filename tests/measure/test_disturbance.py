"""Rounds that other work disturbs, detected from injected waits, loads and clocks."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from attnprof.analysis.noise import describe_disturbance
from attnprof.core.intervals import paired_ratio
from attnprof.core.machine import BusyProcess, Conditions
from attnprof.core.verdict import verdict
from attnprof.measure.busy_processes import Snapshot, busy_between, snapshot
from attnprof.measure.disturbance import (
    Disturbance,
    RoundLog,
    Surroundings,
    Timed,
    describe_disturbance_of,
)
from attnprof.measure.rounds import Budget, MeasuredRounds, cpu_timer, measure_rounds
from attnprof.measure.system_load import CpuTimes, longest_wait_ns, own_cpu_seconds, thread_waits

TWO_CORES = Conditions(logical_cores=2, usable_cores=2, physical_cores=2, threads=2)


class Machine:
    """A fake machine of two cores on which two kernels run beside a load of `load_at(seconds)`.

    A threaded call that has to share a core takes `slowdown` times as long, and one of its threads
    waits for the difference. Only calls advance the clock.
    """

    def __init__(
        self,
        load_at: Callable[[float], float] = lambda seconds: 0.0,
        *,
        threads: int = 2,
        reports_waits: bool = True,
        stolen_at: Callable[[float], float] = lambda seconds: 0.0,
    ) -> None:
        self.now, self.threads, self.reports_waits = 0.0, threads, reports_waits
        self.load_at, self.stolen_at = load_at, stolen_at
        self.own = self.others = self.stolen = 0.0
        self.rng = random.Random(0)

    def call(self, seconds: float, slowdown: float) -> Callable[[], Timed]:
        def run() -> Timed:
            others, stolen = self.load_at(self.now), self.stolen_at(self.now)
            has_to_share = others > 2 - self.threads
            clean = seconds * self.rng.gauss(1, 0.02)
            elapsed = clean * (slowdown if has_to_share or stolen else 1)
            self.now += elapsed
            self.own += self.threads * clean
            self.others += others * elapsed
            self.stolen += stolen * elapsed
            waited = round((elapsed - clean) * 1e9) if has_to_share else 0
            return Timed(round(elapsed * 1e9), waited if self.reports_waits else None)

        return run

    def load(self) -> CpuTimes:
        busy = self.own + self.others
        return CpuTimes(self.now, busy, self.own, self.stolen, 2 * self.now)

    def surroundings(self) -> Surroundings:
        return Surroundings(self.load, lambda: self.threads, 2, lambda: self.now)

    def compare(self, seconds: float = 2.0) -> MeasuredRounds[str]:
        """A kernel that takes 20 ms beside one that is 0.85x as fast and slows down far more."""
        runs = {"reference": self.call(0.020, 1.5), "kernel": self.call(0.020 / 0.85, 5.0)}
        return measure_rounds(
            runs,
            lambda run: run(),  # type: ignore[return-value,arg-type]
            Budget(seconds, lambda: self.now),
            order=random.Random(1),
            reference="reference",
            surroundings=self.surroundings(),
        )


def speed(measured: MeasuredRounds[str]) -> float:
    return paired_ratio(measured.times["reference"], measured.times["kernel"]).median


def bursts(seed: int, longest: float) -> Callable[[float], float]:
    """A load that is switched on and off at random times."""
    rng, turns, at = random.Random(seed), [0.0], 0.0
    while at < 60:
        at += rng.uniform(0.05, longest)
        turns.append(at)
    return lambda seconds: float(sum(turn <= seconds for turn in turns) % 2)


def test_a_quiet_machine_withholds_nothing() -> None:
    for _ in range(20):
        measured = Machine().compare()
        assert measured.disturbance.left_out == 0
        assert not measured.disturbance.is_withheld
        assert speed(measured) == pytest.approx(0.85, rel=0.03)


@pytest.mark.parametrize("cores", [1.0, 2.0])
def test_under_load_the_verdict_is_withheld_and_the_times_are_kept(cores: float) -> None:
    measured = Machine(lambda seconds: cores).compare()
    assert measured.disturbance.is_withheld
    # Otherwise there would be a confident and wrong verdict.
    interval = paired_ratio(measured.times["reference"], measured.times["kernel"])
    assert verdict(interval).outcome == "slower"
    assert interval.high < 0.35
    assert len(measured.times["reference"]) == measured.disturbance.rounds


@pytest.mark.parametrize("seed", range(20))
def test_under_a_bursty_load_the_rounds_between_bursts_are_used(seed: int) -> None:
    measured = Machine(bursts(seed, 0.6)).compare(seconds=6)
    assert not measured.disturbance.is_withheld
    assert 0 < measured.disturbance.left_out < measured.disturbance.rounds
    assert len({len(times) for times in measured.times.values()}) == 1
    assert speed(measured) == pytest.approx(0.85, rel=0.03)


def test_after_a_load_ends_enough_rounds_remain_to_settle() -> None:
    measured = Machine(lambda seconds: float(seconds < 1)).compare(seconds=15)
    assert not measured.disturbance.is_withheld
    assert speed(measured) == pytest.approx(0.85, rel=0.03)
    assert measured.disturbance.after is not None
    assert measured.disturbance.after.at < 5


def test_a_thread_with_a_free_core_is_not_disturbed() -> None:
    measured = Machine(lambda seconds: 1.0, threads=1).compare()
    assert measured.disturbance.left_out == 0
    assert Machine(lambda seconds: 2.0, threads=1).compare().disturbance.is_withheld


def test_a_kernel_compared_with_itself_gets_no_verdict_under_load() -> None:
    for seed in range(60):
        machine = Machine(bursts(seed, 0.4))
        runs = {"reference": machine.call(0.020, 3.0), "kernel": machine.call(0.020, 3.0)}
        measured = measure_rounds(
            runs,
            lambda run: run(),  # type: ignore[return-value,arg-type]
            Budget(1.0, lambda machine=machine: machine.now),
            order=random.Random(seed),
            reference="reference",
            surroundings=machine.surroundings(),
        )
        if not measured.disturbance.is_withheld:
            ratio = paired_ratio(measured.times["reference"], measured.times["kernel"])
            assert verdict(ratio, len(measured.times["reference"])).outcome == "undecided"


def test_more_threads_than_cores_are_no_disturbance() -> None:
    """Threads of one call that wait for each other are part of its cost."""
    machine = Machine(threads=4)
    log = RoundLog[str](machine.surroundings())
    for _ in range(20):
        machine.now += 0.02
        machine.own += 0.04
        log.add({"reference": Timed(20_000_000, 9_000_000)})
    log.check_load()
    assert log.disturbance().left_out == 0


def test_long_waits_disturb_even_if_a_container_hides_other_processes() -> None:
    machine = Machine()
    log = RoundLog[str](machine.surroundings())
    for waited_ns in (200_000, 1_900_000, 9_000_000):
        machine.now += 0.02
        machine.own += 0.04
        log.add({"reference": Timed(20_000_000, waited_ns)})
    log.check_load()
    assert [times["reference"].waited_ns for times in log.undisturbed()] == [200_000, 1_900_000]


def test_stolen_time_disturbs_the_rounds_around_it() -> None:
    measured = Machine(stolen_at=lambda seconds: float(0.3 < seconds < 0.6)).compare()
    assert not measured.disturbance.is_withheld
    assert speed(measured) == pytest.approx(0.85, rel=0.03)
    assert Machine(stolen_at=lambda seconds: 0.5).compare().disturbance.is_withheld


def test_without_reported_waits_cpu_times_are_used() -> None:
    loaded = Machine(lambda seconds: 1.0, reports_waits=False).compare()
    assert loaded.disturbance.is_withheld
    assert not loaded.disturbance.reports_waits
    assert not Machine(reports_waits=False).compare().disturbance.is_withheld
    single = Machine(lambda seconds: 1.0, threads=1, reports_waits=False).compare()
    assert single.disturbance.left_out == 0


def test_work_of_a_dead_worker_is_not_attributed_to_other_processes() -> None:
    machine = Machine()
    log = RoundLog[str](machine.surroundings())
    machine.now, machine.others = (
        1.0,
        2.0,
    )  # the worker died, and its work is no longer counted as this run's
    log.restart_load()
    for _ in range(8):
        machine.now += 0.02
        machine.own += 0.04
        log.add({"reference": Timed(20_000_000, 3_000_000)})
    log.check_load()
    assert log.disturbance().left_out == 0


def test_messages_name_the_process_and_the_remedy() -> None:
    loaded = replace(TWO_CORES, cores_used_by_others=1.0)
    busy = (BusyProcess("cc1plus", 41, 0.98),)
    assert describe_disturbance(loaded, busy) == (
        "another process, cc1plus (pid 41), used 1.0 of 2 cores",
        "close it, or lower --threads to 1",
    )
    assert describe_disturbance(loaded) == (
        "other processes used 1.0 of 2 cores",
        "close them, or lower --threads to 1",
    )
    # Two processes that share a core now could use both cores: fewer threads do not help.
    pair = (BusyProcess("a", 1, 0.5), BusyProcess("b", 2, 0.5))
    assert describe_disturbance(loaded, pair) == (
        "other processes used 1.0 of 2 cores (a (pid 1) 0.5, b (pid 2) 0.5)",
        "close them",
    )
    stolen = replace(TWO_CORES, stolen_share=0.12)
    assert describe_disturbance(stolen)[0] == "the hypervisor took 12 % of the time"
    hidden = replace(TWO_CORES, cores_used_by_others=0.0)
    assert "but no other process was found using one" in describe_disturbance(hidden)[0]
    unreported = describe_disturbance(loaded, busy, reports_waits=False)[0]
    assert "does not report how long threads wait" in unreported


def test_few_disturbed_rounds_are_not_reported() -> None:
    nothing = Snapshot(0.0, {})
    before, after = CpuTimes(0, 0, 0, 0, 0), CpuTimes(10, 20, 10, 0, 20)
    few = Disturbance(rounds=100, left_out=10, before=before, after=after)
    assert describe_disturbance_of(few, lambda: 2, nothing) == ""
    many = describe_disturbance_of(replace(few, left_out=40), lambda: 2, nothing)
    assert many.startswith("40 of 100 rounds were discarded: other processes used 1.0 of ")
    withheld = describe_disturbance_of(
        replace(few, left_out=98, is_withheld=True), lambda: 2, nothing
    )
    assert withheld.startswith("not measurable now: other processes used 1.0 of ")


def test_busy_processes_are_found_by_cpu_time_including_new_ones() -> None:
    before = Snapshot(0.0, {(1, 0.0): ("old", 5.0), (2, 0.0): ("idle", 7.0)})
    after = Snapshot(
        10.0, {(1, 0.0): ("old", 9.0), (2, 0.0): ("idle", 7.1), (3, 4.0): ("new", 8.0)}
    )
    assert busy_between(before, after) == (BusyProcess("new", 3, 0.8), BusyProcess("old", 1, 0.4))
    assert (os.getpid(), time.process_time()) <= own_cpu_seconds()
    assert os.getpid() not in {pid for pid, _ in snapshot().seconds}


def test_the_longest_wait_is_that_of_one_thread_and_new_threads_start_at_zero() -> None:
    assert longest_wait_ns({"1": 5, "2": 100}, {"1": 9, "2": 107, "3": 3}) == 7
    assert longest_wait_ns({"1": 5}, {"1": 5, "3": 30}) == 30
    assert longest_wait_ns(None, {"1": 5}) is None


@pytest.mark.skipif(
    thread_waits() is None, reason="this system does not report how long threads wait"
)
def test_waits_of_all_threads_are_read() -> None:
    begin, end = threading.Event(), threading.Event()

    def work() -> None:
        begin.set()
        end.wait()

    thread = threading.Thread(target=work)
    thread.start()
    begin.wait()
    waits = thread_waits()
    end.set()
    thread.join()
    assert waits is not None
    assert {str(thread.native_id), str(os.getpid())} <= waits.keys()
    timed = cpu_timer(lambda: time.sleep(0.001))
    assert timed.time_ns >= 1_000_000
    assert timed.waited_ns is not None
    assert timed.waited_ns >= 0
