"""Time with a fake clock and fake kernels; memory with allocations of known size."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter

import pytest
import torch

from attnprof.errors import MeasurementError
from attnprof.meters import latency
from attnprof.meters.latency import Budget, measure_rounds
from attnprof.meters.memory import measure_peak_bytes, measure_peak_memory
from attnprof.statistics import median_interval, paired_ratio


class Bench:
    """A clock that only kernels move, and the order in which they ran."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.ran: list[str] = []

    def kernel(self, name: str, *times_ns: int, fails_at: int | None = None):
        runs = iter(range(10_000))

        def run() -> None:
            index = next(runs)
            if index == fails_at:
                raise RuntimeError(f"{name} broke")
            self.ran.append(name)
            self.now_ns += times_ns[index % len(times_ns)]

        return run

    def timer(self, run) -> int:
        before = self.now_ns
        run()
        return self.now_ns - before

    def budget(self, seconds: float) -> Budget:
        return Budget(seconds, lambda: self.now_ns / 1e9)


def test_rounds_run_every_kernel_once_in_changing_order() -> None:
    bench = Bench()
    runs = {name: bench.kernel(name, 10, 30) for name in "abc"}
    times, failures = measure_rounds(runs, bench.timer, bench.budget(1), order=random.Random(0))
    assert not failures
    rounds = [bench.ran[i : i + 3] for i in range(6, len(bench.ran), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len({tuple(order) for order in rounds}) > 1
    assert {len(samples) for samples in times.values()} == {len(rounds)}


def test_steady_kernels_stop_early() -> None:
    bench = Bench()
    times, _ = measure_rounds({"a": bench.kernel("a", 100)}, bench.timer, bench.budget(1))
    assert times == {"a": [100] * latency.MIN_ROUNDS}


def test_noisy_kernels_stop_with_the_budget() -> None:
    bench = Bench()
    runs = {"a": bench.kernel("a", 10**6, 3 * 10**6)}
    times, _ = measure_rounds(runs, bench.timer, bench.budget(0.1))
    assert 0.1 <= sum(times["a"]) / 1e9 < 0.104


def test_slow_kernels_are_warmed_up_once_and_run_three_rounds_whatever_they_take() -> None:
    bench = Bench()
    times, _ = measure_rounds({"a": bench.kernel("a", 10**9)}, bench.timer, bench.budget(0.5))
    assert times == {"a": [10**9] * latency.MIN_ROUNDS_BEYOND_BUDGET}
    assert len(bench.ran) == latency.MIN_ROUNDS_BEYOND_BUDGET + 1


@pytest.mark.parametrize("fails_at", [0, 1, 2, 4])
def test_a_failing_kernel_leaves_the_others_their_rounds(fails_at: int) -> None:
    bench = Bench()
    runs = {"good": bench.kernel("good", 10, 30), "bad": bench.kernel("bad", 5, fails_at=fails_at)}
    times, failures = measure_rounds(runs, bench.timer, bench.budget(1e-6))
    assert list(times) == ["good"]
    assert [str(error) for error in failures.values()] == ["bad broke"]
    assert len(times["good"]) >= latency.MIN_ROUNDS_BEYOND_BUDGET


def test_no_kernel_left_ends_the_rounds() -> None:
    bench = Bench()
    times, failures = measure_rounds(
        {"a": bench.kernel("a", 1, fails_at=0)}, bench.timer, bench.budget(1)
    )
    assert (times, list(failures)) == ({}, ["a"])


def test_on_round_is_told_the_part_of_the_budget() -> None:
    bench, told = Bench(), []
    measure_rounds(
        {"a": bench.kernel("a", 10**8)}, bench.timer, bench.budget(0.4), on_round=told.append
    )
    assert told == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_interval_holds_the_median_and_narrows_with_samples() -> None:
    few, many = median_interval([1, 2, 3, 4, 50]), median_interval([1, 2, 3, 4, 50] * 40)
    for interval in (few, many):
        assert interval.low <= interval.median == 3 <= interval.high
    assert many.relative_width < few.relative_width
    assert few == median_interval([1, 2, 3, 4, 50])


def test_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    draw = random.Random(1)
    hits = Counter(
        interval.low <= 1.0 <= interval.high
        for interval in (
            median_interval([draw.lognormvariate(0, 0.3) for _ in range(25)]) for _ in range(300)
        )
    )
    assert hits[True] >= 0.97 * 300


def test_paired_ratio_is_untouched_by_drift_that_hits_both() -> None:
    drift = [1, 5, 2, 9, 3]
    ratio = paired_ratio([20 * d for d in drift], [10 * d for d in drift])
    assert (ratio.low, ratio.median, ratio.high) == (2, 2, 2)


def test_peak_is_the_most_at_one_time_and_not_the_sum() -> None:
    def run() -> torch.Tensor:
        for _ in range(3):
            torch.empty(1_000_000, dtype=torch.uint8)
        return torch.empty(300_000, dtype=torch.uint8)

    assert measure_peak_bytes(run, "cpu") == 1_000_000


def test_peak_counts_buffers_inside_operators_and_not_inputs() -> None:
    n, heads, width = 256, 2, 16
    query = torch.randn(1, heads, n, width)

    def run() -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(query, query, query)

    output_and_statistics = (n * heads * width + n * heads) * 4
    assert measure_peak_bytes(run, "cpu") > output_and_statistics


def test_measuring_memory_keeps_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    measure_peak_bytes(lambda: torch.zeros(10), "cpu")
    os.write(2, b"stderr is back\n")
    assert capfd.readouterr() == ("", "stderr is back\n")


def test_a_call_without_allocation_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(MeasurementError, match="no allocation"):
        measure_peak_bytes(lambda: None, "cpu")


def test_what_the_process_holds_is_a_cross_check_of_what_the_allocator_says() -> None:
    tensors, bytes_each = 3, 2**25

    def run() -> torch.Tensor:
        return torch.cat([torch.ones(bytes_each, dtype=torch.uint8) for _ in range(tensors)])

    peaks = measure_peak_memory(run, "cpu")
    assert peaks.peak_bytes == 2 * tensors * bytes_each
    assert peaks.reserved_peak_bytes is None
    if sys.platform == "linux":
        assert peaks.resident_peak_bytes == pytest.approx(peaks.peak_bytes, rel=0.05)
