"""Intervals that hold the true median as often as they say, and verdicts that follow from them."""

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
def test_the_interval_holds_the_median_of_the_samples(samples: list[int]) -> None:
    interval = median_interval(samples)
    assert interval.low <= interval.median <= interval.high
    assert interval.median == pytest.approx(np.median(samples))


def test_two_samples_far_apart_have_an_interval_too() -> None:
    interval = median_interval([1, 10**12])
    assert 0 < interval.low < 1 < 10**12 < interval.high < float("inf")


def test_few_samples_that_agree_by_luck_are_not_taken_for_certain() -> None:
    interval = median_interval([1.078, 1.075, 1.078])
    assert interval.low < 1 < interval.high


def test_one_sample_says_nothing() -> None:
    with pytest.raises(ValueError, match=r".+"):
        median_interval([1.0])


@pytest.mark.parametrize("size", [8, 9, 11, 12, 15])
def test_ends_are_the_innermost_samples_that_enough_coin_tosses_lie_between(size: int) -> None:
    # Each sample is below or above the median as a coin falls; all falls are counted.
    below = [sum(tosses) for tosses in product((0, 1), repeat=size)]
    chance = [
        np.mean([rank <= count <= size - rank for count in below])
        for rank in range(1, size // 2 + 1)
    ]
    rank = max(index for index, one in enumerate(chance, 1) if one >= CONFIDENCE)
    # In turn below and above the middle, so that no sample resembles the one before.
    lower, upper = range(100, 100 + size // 2), range(99 + size, 99 + size - size // 2, -1)
    samples = [one for pair in zip(lower, upper, strict=True) for one in pair]
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
def test_the_interval_holds_the_true_median_as_often_as_it_says(draw: Draw, size: int) -> None:
    # Three standard deviations of the count of 1,000 repeats below it.
    assert coverage(draw, size, 1000) >= CONFIDENCE - 0.0095


def in_bursts(mean_rounds: int, excess: float) -> Draw:
    """Half of the rounds are slow, in runs of so many on average, and a part longer."""

    def draw(rng: np.random.Generator, size: int) -> np.ndarray:
        turns = rng.random(size) < 1 / mean_rounds
        turns[0] = rng.random() < 0.5
        is_slow = np.cumsum(turns) % 2
        return np.exp(0.06 * rng.standard_normal(size) + excess * (is_slow - 0.5))

    return draw


@pytest.mark.parametrize("size", [50, 150])
def test_bursts_that_last_some_rounds_are_no_independent_evidence(size: int) -> None:
    draw = in_bursts(5, 0.1)
    assert coverage(draw, size, 500) >= CONFIDENCE - 0.025


def test_long_runs_on_one_side_are_worth_what_their_correlation_says() -> None:
    # Sides that change with chance 1/5 agree with those k before by (3/5)^k: the sum over all k of
    # both signs is (1 + 3/5) / (1 - 3/5) = 4.
    rng = np.random.default_rng(0)
    draw = in_bursts(5, 10.0)
    worths = [effective_sample_size(draw(rng, 400).tolist()) for _ in range(50)]
    assert np.median(worths) == pytest.approx(400 / 4, rel=0.25)


def test_samples_that_do_not_resemble_those_before_count_in_full() -> None:
    rng = np.random.default_rng(0)
    worths = [effective_sample_size(normal(rng, 100).tolist()) for _ in range(200)]
    assert np.median(worths) > 70


def test_paired_ratio_is_untouched_by_drift_that_hits_both() -> None:
    drift = [1, 5, 2, 9, 3, 7, 4, 6]
    ratio = paired_ratio([20 * d for d in drift], [10 * d for d in drift])
    assert (ratio.low, ratio.median, ratio.high) == (2, 2, 2)


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**9)), min_size=2, max_size=30))
def test_the_ratio_the_other_way_round_is_the_inverse(pairs: list[tuple[int, int]]) -> None:
    one, other = zip(*pairs, strict=True)
    ratio, inverse = paired_ratio(one, other), paired_ratio(other, one)
    assert ratio.median * inverse.median == pytest.approx(1)
    assert ratio.low <= ratio.median <= ratio.high
    assert ratio.low * inverse.high == pytest.approx(1)
    assert ratio.high * inverse.low == pytest.approx(1)
