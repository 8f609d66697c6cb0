"""How far the intervals and verdicts of timing can be trusted on this machine.

    python examples/benchmarks/benchmark_timing.py itself          # a kernel against itself
    python examples/benchmarks/benchmark_timing.py overlap         # two runs of one comparison
    python examples/benchmarks/benchmark_timing.py overlap --load  # beside a load in bursts

A kernel is timed against itself many times: it should never be called faster or slower. Two runs of
one comparison, which build their kernels separately, should agree: the intervals of their ratios
should overlap.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from attnprof import kernels
from attnprof.core.intervals import Interval, paired_ratio
from attnprof.core.records import REFERENCE
from attnprof.core.verdict import verdict
from attnprof.measure import environment
from attnprof.measure.rounds import Budget, cpu_timer, measure_rounds
from attnprof.options import read_cases
from attnprof.report.run_facts import describe_machine

LENGTHS = (256, 512, 1024)

LOAD = """
import os, random, time
parent = os.getppid()
while os.getppid() == parent:
    end = time.monotonic() + random.expovariate(1 / 0.3)
    while time.monotonic() < end and os.getppid() == parent:
        sum(range(10_000))
    time.sleep(min(5, random.expovariate(1 / 0.3)))
"""
"""Busy for 0.3 s on average, idle for as long, and gone with the process that began it."""


@contextmanager
def load(is_wanted: bool) -> Generator[None]:
    if not is_wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", LOAD])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def speeds(seq_len: int, seconds: float, names: list[str]) -> dict[str, tuple[Interval, int]]:
    """The speed of each kernel relative to the first, and from how many rounds it comes."""
    cases = read_cases({"len": seq_len, "kernel": list(dict.fromkeys(names))}, "cpu")
    calls = {case.kernel: kernels.find(case.kernel).build(case.workload).run for case in cases}
    runs = {(index, name): calls[name] for index, name in enumerate(names)}
    first, *others = runs
    measured = measure_rounds(runs, cpu_timer, Budget(seconds), reference=first)
    assert not measured.failures, measured.failures
    times = measured.times
    return {key[1]: (paired_ratio(times[first], times[key]), len(times[first])) for key in others}


def compare_with_itself(repeats: int, seconds: float) -> None:
    print(f"a kernel against itself, {repeats} times, {seconds:g} s of rounds each")
    for name, seq_len in (("bert-sdpa", 64), ("bert-sdpa", 256), ("longformer-banded", 512)):
        outcomes: Counter[str] = Counter()
        rounds: list[int] = []
        misses = 0
        for _ in range(repeats // 3):
            ((speed, number),) = speeds(seq_len, seconds, [name, name]).values()
            outcomes[verdict(speed, number).outcome] += 1
            misses += not speed.low <= 1 <= speed.high
            rounds.append(number)
        called = outcomes["faster"] + outcomes["slower"]
        total = sum(outcomes.values())
        print(
            f"  {name:<18} at {seq_len:>4}: called faster or slower {called} of {total} times "
            f"({100 * called / total:.1f} %); 1 is outside the interval {misses} times; "
            f"{min(rounds)} to {max(rounds)} rounds",
            flush=True,
        )


def compare_runs(repeats: int, seconds: float) -> None:
    print(f"two runs of one comparison, {repeats} times, {seconds:g} s of rounds for each length")
    names = [REFERENCE, "bert-eager", "longformer-hf", "longformer-banded"]
    overlapping: Counter[tuple[str, int]] = Counter()
    opposite = 0
    widths: dict[tuple[str, int], list[float]] = {}
    for _ in range(repeats):
        first_run, second_run = (
            {
                (name, seq_len): speed
                for seq_len in LENGTHS
                for name, (speed, _) in speeds(seq_len, seconds, names).items()
            }
            for _ in range(2)
        )
        for key, first in first_run.items():
            second = second_run[key]
            overlapping[key] += first.low <= second.high and second.low <= first.high
            outcomes = {verdict(first).outcome, verdict(second).outcome}
            opposite += outcomes == {"faster", "slower"}
            widths.setdefault(key, []).append(first.relative_width)
    for (name, seq_len), all_widths in widths.items():
        middle = sorted(all_widths)[len(all_widths) // 2]
        print(
            f"  {name:<18} at {seq_len:>5,}: {overlapping[name, seq_len]} of {repeats} overlap; "
            f"intervals {100 * middle:.0f} % wide"
        )
    rows = repeats * len(widths)
    share = 100 * sum(overlapping.values()) / rows
    print(f"  {share:.1f} % of {rows} rows overlap; verdicts are opposite in {opposite}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["itself", "overlap"])
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--load", action="store_true")
    chosen = parser.parse_args()
    load_note = ", beside a load in bursts" if chosen.load else ""
    print(describe_machine(environment.capture().as_dict(), is_on_gpu=False) + load_note)
    begun = time.monotonic()
    with load(chosen.load):
        if chosen.what == "itself":
            compare_with_itself(chosen.repeats or 600, chosen.seconds or 0.3)
        else:
            compare_runs(chosen.repeats or 20, chosen.seconds or 2.0)
    print(f"in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
