"""Predicted times against times that follow the model, with and without noise."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from samples import sample

from attnprof.analysis import time_model
from attnprof.analysis.time_model import (
    MAX_DOUBLINGS,
    PredictedTime,
    predict_time,
)
from attnprof.core.machine import Sample

LENGTHS = (256, 512, 1024, 2048)


def work(kind: str, n: int) -> tuple[int, int]:
    """MACs and bytes: of dense attention, of a window, and of scores that are written out."""
    return {
        "dense": (3 * n * 768**2 + 2 * n * n * 768, 20 * n * 768 + 7_000_000),
        "window": (5 * n * 768**2 + 1024 * n * 768, 16 * n * 768),
        "scores": (3 * n * 768**2 + 2 * n * n * 768, 200 * n * n + 32 * n * 768),
    }[kind]


def predicted(samples: list[Sample], kind: str, n: int) -> PredictedTime:
    macs, moved = work(kind, n)
    time = predict_time(samples, seq_len=n, executed_macs=macs, moved_bytes=moved)
    assert time is not None
    return time


@pytest.mark.parametrize("kind", ["dense", "window", "scores"])
@pytest.mark.parametrize(
    ("per_mac", "per_byte", "constant"),
    [(0.012, 0.0, 0), (0.0, 0.11, 0), (0.012, 0.11, 0), (0.012, 0.0, 5e6), (0.012, 0.11, 5e6)],
)
def test_times_that_follow_the_model_are_predicted_at_every_length(
    kind: str, per_mac: float, per_byte: float, constant: float
) -> None:
    def true(n: int) -> float:
        macs, moved = work(kind, n)
        return per_mac * macs + per_byte * moved + constant

    samples = [sample(n, *work(kind, n), true(n)) for n in LENGTHS]
    for n in (100, 700, 4096, 8192, 100_000):
        assert predicted(samples, kind, n).time_ns == pytest.approx(true(n), rel=1e-4)


def test_a_thousand_samples_take_no_more_fits_than_some(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []
    solve = time_model._least_squares

    def noted(columns: Any, weights: Any) -> list[float] | None:
        fitted.append(len(weights))
        return solve(columns, weights)

    monkeypatch.setattr(time_model, "_least_squares", noted)
    amounts: dict[int, int] = {}
    for count in (100, 1000):
        samples = [
            sample(n, *work("dense", n), 0.012 * work("dense", n)[0], 0.1)
            for n in range(64, 64 * (count + 1), 64)
        ]
        fitted.clear()
        ahead = predicted(samples, "dense", 100_000)
        assert ahead.time_ns == pytest.approx(0.012 * work("dense", 100_000)[0], rel=1e-4)
        amounts[count] = sum(fitted)
    assert amounts[1000] == amounts[100]


def test_one_sample_predicts_by_its_efficiency() -> None:
    samples = [sample(1024, *work("dense", 1024), 5e7)]
    ratio = work("dense", 4096)[0] / work("dense", 1024)[0]
    assert predicted(samples, "dense", 4096).time_ns == pytest.approx(5e7 * ratio, rel=1e-6)


def test_a_noisy_short_length_hardly_moves_predictions_of_long_ones() -> None:
    samples = [sample(n, *work("dense", n), 0.012 * work("dense", n)[0]) for n in LENGTHS]
    noisy = [dataclasses.replace(samples[0], time_ns=3 * samples[0].time_ns), *samples[1:]]
    truth = predicted(samples, "dense", 8192).time_ns
    assert predicted(noisy, "dense", 8192).time_ns == pytest.approx(truth, rel=0.05)


def test_nothing_is_predicted_without_samples_or_too_far_from_them() -> None:
    one = sample(1024, 10**9, 10**6, 5e7)
    far = 1024 * 2**MAX_DOUBLINGS
    for samples, n in (([], 2048), ([one], far + 1024), ([one], 0)):
        assert predict_time(samples, seq_len=n, executed_macs=10**12, moved_bytes=1) is None
    assert predict_time([one], seq_len=far, executed_macs=10**12, moved_bytes=1) is not None


sample_lists = st.lists(
    st.tuples(
        st.integers(1, 10**12),
        st.integers(1, 10**11),
        st.integers(10**3, 10**12),
        st.floats(0, 0.5),
    ),
    min_size=1,
    max_size=5,
).map(
    lambda rows: [
        sample(256 << index, macs, moved, time_ns, spread)
        for index, (macs, moved, time_ns, spread) in enumerate(rows)
    ]
)


@settings(max_examples=50)
@given(sample_lists, st.integers(1, 10**13), st.integers(1, 10**12), st.integers(64, 10**5))
def test_the_interval_holds_the_time_and_more_work_takes_no_less(
    samples: list[Sample], macs: int, moved: int, n: int
) -> None:
    time = predict_time(samples, seq_len=n, executed_macs=macs, moved_bytes=moved)
    more = predict_time(samples, seq_len=n, executed_macs=2 * macs, moved_bytes=moved)
    assume(time is not None and more is not None)
    assert time is not None
    assert more is not None
    assert 0 <= time.low_ns <= time.time_ns <= time.high_ns
    assert time.time_ns <= more.time_ns


@settings(max_examples=50)
@given(sample_lists, st.integers(2, 1000))
def test_a_machine_that_is_slower_throughout_predicts_longer_times(
    samples: list[Sample], factor: int
) -> None:
    def scaled(one: Sample) -> Sample:
        return dataclasses.replace(
            one,
            time_ns=one.time_ns * factor,
            time_low_ns=one.time_low_ns * factor,
            time_high_ns=one.time_high_ns * factor,
        )

    args = {"seq_len": 8192, "executed_macs": 10**12, "moved_bytes": 10**10}
    fast = predict_time(samples, **args)
    slow = predict_time([scaled(one) for one in samples], **args)
    assert fast is not None
    assert slow is not None
    for before, after in zip(dataclasses.astuple(fast), dataclasses.astuple(slow), strict=True):
        assert after == pytest.approx(factor * before, rel=1e-5, abs=2 * factor)


def test_the_interval_grows_with_each_doubling_and_with_those_of_the_samples() -> None:
    def width(n: int, spread: float) -> float:
        samples = [
            sample(m, *work("dense", m), 0.01 * work("dense", m)[0], spread) for m in LENGTHS
        ]
        time = predicted(samples, "dense", n)
        return time.high_ns / time.low_ns

    assert width(2048, 0.0) < width(4096, 0.0) < width(8192, 0.0)
    assert width(4096, 0.0) < width(4096, 0.1) < width(4096, 0.3)
