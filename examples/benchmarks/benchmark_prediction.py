"""How far predicted times and peaks are from measured ones, at 2x and 4x the longest length.

    python examples/benchmarks/benchmark_prediction.py
    python examples/benchmarks/benchmark_prediction.py --hidden-size 512 --num-heads 8 --window 256
    python examples/benchmarks/benchmark_prediction.py --mode training --len 256 512 1024

Each round runs every kernel at every length once, in random order, so that drift of the machine
affects the lengths that are predicted from and those that are predicted alike.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Sequence

from attnprof import kernels
from attnprof.analysis.time_model import PredictedTime, predict_time
from attnprof.core.intervals import median_interval
from attnprof.core.machine import Sample
from attnprof.core.units import format_bytes, format_count, format_duration
from attnprof.core.workload import Case
from attnprof.kernels.default_choice import DEFAULT
from attnprof.measure.peak_memory import measure_peak_bytes
from attnprof.measure.rounds import cpu_timer
from attnprof.options import read_cases

LENGTHS = (512, 1024, 2048)
FACTORS = (2, 4)


def measured(cases: Sequence[Case], seconds: float, min_rounds: int) -> dict[Case, list[int]]:
    """Nanoseconds of every case in interleaved rounds, until the time is spent."""
    runs = {case: kernels.find(case.kernel).build(case.workload).run for case in cases}
    for run in runs.values():
        run()
    times: dict[Case, list[int]] = {case: [] for case in cases}
    begun = time.monotonic()
    rounds = 0
    while rounds < min_rounds or time.monotonic() - begun < seconds:
        for case in random.sample(list(runs), len(runs)):
            times[case].append(cpu_timer(runs[case]).time_ns)
        rounds += 1
    return times


def sample(case: Case, times: Sequence[int]) -> Sample:
    kernel, interval = kernels.find(case.kernel), median_interval(times)
    return Sample(
        seq_len=case.workload.seq_len,
        executed_macs=kernel.executed_macs(case.workload),
        moved_bytes=kernels.moved_bytes(kernel, case.workload),
        time_ns=round(interval.median),
        time_low_ns=round(interval.low),
        time_high_ns=round(interval.high),
    )


def report(times: dict[Case, list[int]], longest: int) -> None:
    """Print each prediction beside the measured time, and the errors over all of them."""
    rounds = min(len(samples) for samples in times.values())
    print(f"\nmedians of {rounds} rounds")
    errors: list[float] = []
    inside = 0
    for kernel in dict.fromkeys(case.kernel for case in times):
        samples = {
            case.workload.seq_len: sample(case, case_times)
            for case, case_times in times.items()
            if case.kernel == kernel
        }
        known = [point for length, point in samples.items() if length <= longest]
        for length, truth in samples.items():
            if length <= longest:
                continue
            predicted = predict_time(
                known,
                seq_len=length,
                executed_macs=truth.executed_macs,
                moved_bytes=truth.moved_bytes,
            )
            assert predicted is not None
            error = predicted.time_ns / truth.time_ns - 1
            errors.append(abs(error))
            inside += is_inside(truth.time_ns, predicted)
            print(
                f"  {kernel:18} {format_count(length):>7}  measured "
                f"{format_duration(truth.time_ns):>8}  predicted "
                f"{format_duration(predicted.time_ns):>8} ({format_duration(predicted.low_ns)} to "
                f"{format_duration(predicted.high_ns)})  {100 * error:+6.1f} %"
            )
    print(
        f"  error: median {100 * statistics.median(errors):.1f} % (limit 10 %), worst "
        f"{100 * max(errors):.1f} % (limit 25 %); within the interval {inside} of {len(errors)}"
    )


def is_inside(time_ns: int, predicted: PredictedTime) -> bool:
    return predicted.low_ns <= time_ns <= predicted.high_ns


def report_peaks(cases: Sequence[Case]) -> None:
    """Print the predicted peak of each case beside the allocator's."""
    print("\npeak bytes")
    errors: list[float] = []
    for case in cases:
        kernel = kernels.find(case.kernel)
        predicted = kernel.peak_bytes(case.workload)
        peak = measure_peak_bytes(kernel.build(case.workload).run, "cpu")
        errors.append(abs(predicted / peak - 1))
        print(
            f"  {case.kernel:18} {format_count(case.workload.seq_len):>7}  measured "
            f"{format_bytes(peak):>8}  predicted {format_bytes(predicted):>8}  "
            f"{100 * (predicted / peak - 1):+.3f} %"
        )
    print(f"  error: worst {100 * max(errors):.3f} % (limit 1 %)")


def main() -> None:
    """Measure, predict, and print both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--len", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--kernel", nargs="+", default=DEFAULT)
    parser.add_argument("--hidden-size", type=int, default=768)
    parser.add_argument("--num-heads", type=int, default=12)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--mode", default="inference")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--min-rounds", type=int, default=5)
    chosen = parser.parse_args()
    longest = max(chosen.len)
    cases = read_cases(
        {
            "len": [*chosen.len, *(factor * longest for factor in FACTORS)],
            "kernel": chosen.kernel,
            "hidden_size": chosen.hidden_size,
            "num_heads": chosen.num_heads,
            "window": chosen.window,
            "mode": chosen.mode,
        },
        "cpu",
    )
    report_peaks([case for case in cases if case.workload.seq_len > longest])
    report(measured(cases, chosen.seconds, chosen.min_rounds), longest)


if __name__ == "__main__":
    main()
