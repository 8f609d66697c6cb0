"""How many verdicts are wrong beside other processes, and how many are withheld without any.

    python examples/benchmarks/benchmark_verdicts_under_load.py   # all, about 20 minutes
    python examples/benchmarks/benchmark_verdicts_under_load.py --comparisons 10 --load one
    python examples/benchmarks/benchmark_verdicts_under_load.py --load bursty --truth 0.85

One pair of kernels is compared again and again, each time built anew in a process of its own, as
`attnprof compare` does it: on the machine as it is, beside one and two busy processes, and beside
one that is busy in bursts of random length. In the same rounds a kernel is timed against itself.
The truth comes from longer runs before all others, so start this on a quiet machine.

A verdict is wrong that names the other side, or whose interval lies wholly outside the truth's,
widened by `TOLERANCE`; of a kernel against itself, one that names a side at all. Exit code 1 if one
is wrong, or if one is withheld without a load.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from attnprof.core.cpu import computing_with, cpu_threads
from attnprof.core.intervals import Interval
from attnprof.core.records import RATIO, REFERENCE, ROUNDS, WITHHELD
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.verdict import TARGET_RELATIVE_WIDTH, Outcome, verdict
from attnprof.core.workload import Case
from attnprof.isolation.fork_server import ForkServer
from attnprof.isolation.workers import Workers
from attnprof.measure import environment, worker_tasks
from attnprof.measure.timing import time_interleaved
from attnprof.options import read_cases

KERNEL = "longformer-banded"
TOLERANCE = 0.1
"""A process may have its tensors at addresses that cost it so much; another has not the same."""
TRUTHS = 5
"""Processes that the truth comes from."""
TIMEOUT = 120.0

BUSY = """
import os, random, sys, time
parent, bursts = os.getppid(), float(sys.argv[1])
while os.getppid() == parent:
    end = time.monotonic() + (random.expovariate(1 / bursts) if bursts else 1)
    while time.monotonic() < end and os.getppid() == parent:
        sum(range(10_000))
    if bursts:
        time.sleep(min(5, random.expovariate(1 / bursts)))
"""
"""Busy without an end, or for so many seconds on average and idle for as long; it is gone with the
process that began it."""

LOADS: dict[str, Sequence[float]] = {"none": (), "one": (0,), "two": (0, 0), "bursty": (0.3,)}
"""The processes that are busy meanwhile, each with the mean length of its bursts."""

Judged = Literal["right", "undecided", "withheld", "WRONG"]


@dataclass(frozen=True, slots=True)
class Told:
    """What one comparison said: a verdict and its interval, or why there is none."""

    outcome: Outcome | Literal["withheld"]
    speed: Interval | None = None


def main() -> int:
    options = _options()
    cases = _cases(options.len)
    with (
        computing_with(cpu_threads()),
        ForkServer(
            worker_tasks.modules([REFERENCE, KERNEL]), {"OMP_NUM_THREADS": str(cpu_threads())}
        ) as workers,
    ):
        print(workers.run(environment.capture, max_seconds=TIMEOUT).result.describe("cpu"))
        truth = _given(options.truth) or _truth(cases, workers, options.seconds)
        if truth is None:
            print("the truth cannot be measured beside other processes: quieten the machine")
            return 2
        print(
            f"{KERNEL} against {REFERENCE} at {options.len} tokens: in truth {truth.median:.2f}x "
            f"({truth.low:.2f} to {truth.high:.2f})\n"
        )
        names = list(LOADS) if options.load == "all" else [options.load]
        counts: dict[tuple[str, str], Counter[Judged]] = {}
        for name in names:
            with _load(LOADS[name]):
                _compare(name, cases, workers, options, truth, counts)
    _print_table(counts)
    is_wrong = any(one["WRONG"] for one in counts.values())
    is_shy = any(one["withheld"] for (name, _), one in counts.items() if name == "none")
    return int(is_wrong or is_shy)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=100, help="beside each load")
    parser.add_argument("--load", choices=[*LOADS, "all"], default="all")
    parser.add_argument("--seconds", type=float, default=1.2, help="for the rounds of each")
    parser.add_argument("--len", type=int, default=512, help="tokens")
    parser.add_argument("--truth", type=float, help="the speed, where it is known")
    return parser.parse_args()


def _cases(seq_len: int) -> tuple[Case, Case, Case]:
    """The reference, the kernel, and the reference again: a dense kernel takes any pattern."""
    dense, sparse = read_cases({"len": seq_len, "kernel": [REFERENCE, KERNEL]}, "cpu")
    return dense, sparse, Case(REFERENCE, sparse.workload)


def _given(speed: float | None) -> Interval | None:
    return None if speed is None else Interval(speed, speed, speed)


def _truth(cases: Sequence[Case], workers: Workers, seconds: float) -> Interval | None:
    """What longer runs say together; None where one of them is disturbed."""
    speeds: list[Interval] = []
    for _ in range(TRUTHS):
        told, _ = _told(cases, workers, 4 * seconds, precision=TARGET_RELATIVE_WIDTH / 2)
        if told.speed is None:
            return None
        speeds.append(told.speed)
    medians = sorted(speed.median for speed in speeds)
    return Interval(
        medians[TRUTHS // 2],
        min(speed.low for speed in speeds),
        max(speed.high for speed in speeds),
    )


@contextmanager
def _load(bursts: Sequence[float]) -> Generator[None]:
    busy = [subprocess.Popen([sys.executable, "-c", BUSY, str(one)]) for one in bursts]
    try:
        time.sleep(0.5 * bool(busy))
        yield
    finally:
        for one in busy:
            one.kill()
            one.wait()


def _compare(
    name: str,
    cases: Sequence[Case],
    workers: Workers,
    options: argparse.Namespace,
    truth: Interval,
    counts: dict[tuple[str, str], Counter[Judged]],
) -> None:
    """All comparisons beside one load; what they said so far is told as they go."""
    pair, itself = (counts.setdefault((name, what), Counter()) for what in ("pair", "itself"))
    begun = time.monotonic()
    for number in range(1, options.comparisons + 1):
        told, told_of_itself = _told(cases, workers, options.seconds)
        judged = _judged(told, truth)
        pair[judged] += 1
        itself[_judged_itself(told_of_itself)] += 1
        if judged == "WRONG":
            print(f"  {name}: {told}")
        if number % 10 == 0 or number == options.comparisons:
            seconds = time.monotonic() - begun
            print(f"{name}: {number} in {seconds:.0f} s: {_words(pair)}; itself: {_words(itself)}")
            sys.stdout.flush()


def _told(
    cases: Sequence[Case],
    workers: Workers,
    seconds: float,
    precision: float = TARGET_RELATIVE_WIDTH,
) -> tuple[Told, Told]:
    """The verdicts of one comparison: of the pair, and of the reference on itself."""
    records = time_interleaved(
        cases,
        workers,
        max_seconds=seconds,
        precision=precision,
        timeout=TIMEOUT,
        note="",
        on_round=lambda part: None,
    )
    rows = {(row.kernel, row.workload): row for row in ResultTable(records).rows}
    _, sparse, again = (rows[case.kernel, case.workload] for case in cases)
    assert sparse.status == again.status == "ok", (sparse.detail, again.detail)
    return _verdict(sparse), _verdict(again)


def _verdict(row: Row) -> Told:
    if row.values[WITHHELD]:
        return Told("withheld")
    # The ratio is of times; of speeds it is the inverse, and its ends change places.
    ends = [1 / row.values[f"{RATIO}{end}:{REFERENCE}"] for end in ("", "_high", "_low")]
    speed = Interval(*ends)
    return Told(verdict(speed, int(row.values[ROUNDS])).outcome, speed)


def _judged(told: Told, truth: Interval) -> Judged:
    if told.outcome == "withheld" or told.speed is None:
        return "withheld"
    is_far = told.speed.low > truth.high * (1 + TOLERANCE)
    is_far = is_far or told.speed.high < truth.low / (1 + TOLERANCE)
    if told.outcome == "undecided":
        return "WRONG" if is_far else "undecided"
    return "WRONG" if is_far or told.outcome != verdict(truth).outcome else "right"


def _judged_itself(told: Told) -> Judged:
    if told.outcome == "withheld":
        return "withheld"
    return "right" if told.outcome == "undecided" else "WRONG"


def _words(counts: Counter[Judged]) -> str:
    return ", ".join(f"{number} {judged}" for judged, number in sorted(counts.items()))


def _print_table(counts: dict[tuple[str, str], Counter[Judged]]) -> None:
    columns: tuple[Judged, ...] = ("right", "undecided", "withheld", "WRONG")
    print(f"\n{'load':8} {'compared':10}" + "".join(f"{name:>11}" for name in columns))
    for (name, what), one in counts.items():
        print(f"{name:8} {what:10}" + "".join(f"{one[column]:>11}" for column in columns))


if __name__ == "__main__":
    sys.exit(main())
