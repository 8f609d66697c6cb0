"""How many verdicts are wrong under load, and how many are withheld without any load.

    python examples/benchmarks/benchmark_verdicts_under_load.py   # all, about 20 minutes
    python examples/benchmarks/benchmark_verdicts_under_load.py --comparisons 10 --load one
    python examples/benchmarks/benchmark_verdicts_under_load.py --load bursty --truth 0.85

One pair of kernels is compared many times, each time built in a new process as `attnprof compare`
does: without a load, beside one and two busy processes, and beside one that is busy in bursts of
random length. A kernel is timed against itself in the same rounds. The true speed comes from longer
runs at the beginning, so start this on a quiet machine.

A verdict is wrong if it names the slower kernel as faster, or if its interval is entirely outside
that of the true speed, widened by `TOLERANCE`. For a kernel against itself, any verdict of faster
or slower is wrong. The exit code is 1 if a verdict is wrong, or is withheld without a load.
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
from attnprof.report.run_facts import describe_machine

KERNEL = "longformer-banded"
TOLERANCE = 0.1
"""Relative. The addresses of its tensors can make one process slower than another by this much."""
TRUTHS = 5
"""Processes that measure the true speed."""
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
"""A process that is busy all the time, or for this many seconds on average and then idle for as
long. It ends with its parent."""

LOADS: dict[str, Sequence[float]] = {"none": (), "one": (0,), "two": (0, 0), "bursty": (0.3,)}
"""By name: the mean burst of each busy process in seconds; 0 is busy all the time."""

Judgement = Literal["right", "undecided", "withheld", "WRONG"]


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict of one comparison and its interval, if it was not withheld."""

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
        print(
            describe_machine(
                workers.run(environment.capture, max_seconds=TIMEOUT).result.as_dict(),
                is_on_gpu=False,
            )
        )
        truth = _exact(options.truth) or _truth(cases, workers, options.seconds)
        if truth is None:
            print("other processes disturb the runs for the true speed: close other programs")
            return 2
        print(
            f"{KERNEL} against {REFERENCE} at {options.len} tokens: in truth {truth.median:.2f}x "
            f"({truth.low:.2f} to {truth.high:.2f})\n"
        )
        names = list(LOADS) if options.load == "all" else [options.load]
        counts: dict[tuple[str, str], Counter[Judgement]] = {}
        for name in names:
            with _load(LOADS[name]):
                _compare(name, cases, workers, options, truth, counts)
    _print_table(counts)
    is_wrong = any(judged["WRONG"] for judged in counts.values())
    is_overcautious = any(
        judged["withheld"] for (name, _), judged in counts.items() if name == "none"
    )
    return int(is_wrong or is_overcautious)


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


def _exact(speed: float | None) -> Interval | None:
    return None if speed is None else Interval(speed, speed, speed)


def _truth(cases: Sequence[Case], workers: Workers, seconds: float) -> Interval | None:
    """The true speed from longer runs; None if one of them is disturbed."""
    speeds: list[Interval] = []
    for _ in range(TRUTHS):
        result, _ = _compare_once(cases, workers, 4 * seconds, precision=TARGET_RELATIVE_WIDTH / 2)
        if result.speed is None:
            return None
        speeds.append(result.speed)
    medians = sorted(speed.median for speed in speeds)
    return Interval(
        medians[TRUTHS // 2],
        min(speed.low for speed in speeds),
        max(speed.high for speed in speeds),
    )


@contextmanager
def _load(bursts: Sequence[float]) -> Generator[None]:
    busy = [subprocess.Popen([sys.executable, "-c", BUSY, str(mean)]) for mean in bursts]
    try:
        if busy:
            time.sleep(0.5)
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _compare(
    name: str,
    cases: Sequence[Case],
    workers: Workers,
    options: argparse.Namespace,
    truth: Interval,
    counts: dict[tuple[str, str], Counter[Judgement]],
) -> None:
    """Run all comparisons under one load, and print the counts as they go."""
    pair, itself = (counts.setdefault((name, what), Counter()) for what in ("pair", "itself"))
    begun = time.monotonic()
    for number in range(1, options.comparisons + 1):
        result, self_result = _compare_once(cases, workers, options.seconds)
        judged = _judge(result, truth)
        pair[judged] += 1
        itself[_judge_itself(self_result)] += 1
        if judged == "WRONG":
            print(f"  {name}: {result}")
        if number % 10 == 0 or number == options.comparisons:
            seconds = time.monotonic() - begun
            print(f"{name}: {number} in {seconds:.0f} s: {_words(pair)}; itself: {_words(itself)}")
            sys.stdout.flush()


def _compare_once(
    cases: Sequence[Case],
    workers: Workers,
    seconds: float,
    precision: float = TARGET_RELATIVE_WIDTH,
) -> tuple[Result, Result]:
    """The verdicts of one comparison: of the pair, and of the reference against itself."""
    records = time_interleaved(
        cases,
        workers,
        max_seconds=seconds,
        precision=precision,
        timeout=TIMEOUT,
        note="",
        on_round=lambda rounds, part: None,
    )
    rows = {(row.kernel, row.workload): row for row in ResultTable(records).rows}
    _, sparse, again = (rows[case.kernel, case.workload] for case in cases)
    assert sparse.status == again.status == "ok", (sparse.detail, again.detail)
    return _verdict(sparse), _verdict(again)


def _verdict(row: Row) -> Result:
    if row.values[WITHHELD]:
        return Result("withheld")
    # The ratio of speeds is the inverse of that of times, so the ends of the interval swap.
    ends = [1 / row.values[f"{RATIO}{end}:{REFERENCE}"] for end in ("", "_high", "_low")]
    speed = Interval(*ends)
    return Result(verdict(speed, int(row.values[ROUNDS])).outcome, speed)


def _judge(result: Result, truth: Interval) -> Judgement:
    if result.outcome == "withheld" or result.speed is None:
        return "withheld"
    is_far = result.speed.low > truth.high * (1 + TOLERANCE)
    is_far = is_far or result.speed.high < truth.low / (1 + TOLERANCE)
    if result.outcome == "undecided":
        return "WRONG" if is_far else "undecided"
    return "WRONG" if is_far or result.outcome != verdict(truth).outcome else "right"


def _judge_itself(result: Result) -> Judgement:
    if result.outcome == "withheld":
        return "withheld"
    return "right" if result.outcome == "undecided" else "WRONG"


def _words(counts: Counter[Judgement]) -> str:
    return ", ".join(f"{number} {judged}" for judged, number in sorted(counts.items()))


def _print_table(counts: dict[tuple[str, str], Counter[Judgement]]) -> None:
    columns: tuple[Judgement, ...] = ("right", "undecided", "withheld", "WRONG")
    print(f"\n{'load':8} {'compared':10}" + "".join(f"{name:>11}" for name in columns))
    for (name, what), judged in counts.items():
        print(f"{name:8} {what:10}" + "".join(f"{judged[column]:>11}" for column in columns))


if __name__ == "__main__":
    sys.exit(main())
