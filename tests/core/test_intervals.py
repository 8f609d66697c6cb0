"""Confidence intervals contain the true median at least as often as their level."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnprof.core.intervals import (
    CONFIDENCE,
    effective_sample_size,
    median_interval,
    paired_ratio,
)

Draw = Callable[[np.random.Generator, int], np.ndarray]

times = st.lists(st.integers(1, 10**12), min_size=2, max_size=60)


@given(times)
def test_the_interval_contains_the_median_of_the_samples(samples: list[int]) -> None:
    interval = median_interval(samples)
    assert interval.low <= interval.median <= interval.high
    assert interval.median == pytest.approx(np.median(samples))


def test_two_samples_far_apart_have_an_interval_too() -> None:
    interval = median_interval([1, 10**12])
    assert 0 < interval.low < 1 < 10**12 < interval.high < float("inf")


def test_few_samples_that_agree_by_luck_do_not_give_a_narrow_interval() -> None:
    interval = median_interval([1.078, 1.075, 1.078])
    assert interval.low < 1 < interval.high


def test_one_sample_is_an_error() -> None:
    with pytest.raises(ValueError, match=r".+"):
        median_interval([1.0])


@pytest.mark.parametrize("size", [8, 9, 11, 12, 15])
def test_ends_are_the_innermost_samples_with_enough_confidence(size: int) -> None:
    # Each sample is below or above the median with equal probability; all outcomes are enumerated.
    below = [sum(outcome) for outcome in product((0, 1), repeat=size)]
    probabilities = [
        np.mean([rank <= count <= size - rank for count in below])
        for rank in range(1, size // 2 + 1)
    ]
    rank = max(rank for rank, chance in enumerate(probabilities, 1) if chance >= CONFIDENCE)
    # Alternately below and above the median, so that consecutive samples are not correlated.
    lower, upper = range(100, 100 + size // 2), range(99 + size, 99 + size - size // 2, -1)
    samples = [sample for pair in zip(lower, upper, strict=True) for sample in pair]
    samples += [100 + size // 2] * (size % 2)
    assert sorted(samples) == list(range(100, 100 + size))
    interval = median_interval(samples)
    assert (interval.low, interval.high) == (99 + rank, 100 + size - rank)


def normal(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.exp(0.06 * rng.standard_normal(size))


def heavy_tails(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.exp(0.05 * rng.standard_t(2, size))


def coverage(draw: Draw, size: int, repeats: int, true: float = 1.0) -> float:
    rng = np.random.default_rng(size)
    intervals = (median_interval(draw(rng, size).tolist()) for _ in range(repeats))
    return sum(interval.low <= true <= interval.high for interval in intervals) / repeats


@pytest.mark.parametrize("draw", [normal, heavy_tails])
@pytest.mark.parametrize("size", [3, 4, 5, 7, 8, 9, 12, 25, 60])
def test_the_interval_contains_the_true_median_as_often_as_its_level(draw: Draw, size: int) -> None:
    # Minus three standard deviations of the share among 1,000 repeats.
    assert coverage(draw, size, 1000) >= CONFIDENCE - 0.0095


def in_bursts(mean_rounds: int, excess: float) -> Draw:
    """Half of the rounds are slower by exp(excess), in runs of `mean_rounds` on average."""

    def draw(rng: np.random.Generator, size: int) -> np.ndarray:
        changes = rng.random(size) < 1 / mean_rounds
        changes[0] = rng.random() < 0.5
        is_slow = np.cumsum(changes) % 2
        return np.exp(0.06 * rng.standard_normal(size) + excess * (is_slow - 0.5))

    return draw


@pytest.mark.parametrize("size", [50, 150])
def test_bursts_that_last_some_rounds_keep_the_coverage(size: int) -> None:
    draw = in_bursts(5, 0.1)
    assert coverage(draw, size, 500) >= CONFIDENCE - 0.025


def test_long_runs_on_one_side_have_the_effective_sample_size_of_their_correlation() -> None:
    # Sides that change with probability 1/5 have correlation (3/5)^k at lag k; the sum over all
    # positive and negative k is (1 + 3/5) / (1 - 3/5) = 4.
    rng = np.random.default_rng(0)
    draw = in_bursts(5, 10.0)
    sizes = [effective_sample_size(draw(rng, 400).tolist()) for _ in range(50)]
    assert np.median(sizes) == pytest.approx(400 / 4, rel=0.25)


def test_independent_samples_count_in_full() -> None:
    rng = np.random.default_rng(0)
    sizes = [effective_sample_size(normal(rng, 100).tolist()) for _ in range(200)]
    assert np.median(sizes) > 70


def test_paired_ratio_is_unaffected_by_drift_of_both() -> None:
    drift = [1, 5, 2, 9, 3, 7, 4, 6]
    ratio = paired_ratio([20 * d for d in drift], [10 * d for d in drift])
    assert (ratio.low, ratio.median, ratio.high) == (2, 2, 2)


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**9)), min_size=2, max_size=30))
def test_the_ratio_of_exchanged_arguments_is_the_inverse(pairs: list[tuple[int, int]]) -> None:
    first, second = zip(*pairs, strict=True)
    ratio, inverse = paired_ratio(first, second), paired_ratio(second, first)
    assert ratio.median * inverse.median == pytest.approx(1)
    assert ratio.low <= ratio.median <= ratio.high
    assert ratio.low * inverse.high == pytest.approx(1)
    assert ratio.high * inverse.low == pytest.approx(1)
