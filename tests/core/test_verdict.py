"""Verdicts that follow from intervals of speed."""

from __future__ import annotations

import random

import numpy as np
import pytest

from attnprof.core.intervals import (
    Interval,
    median_interval,
)
from attnprof.core.verdict import MIN_DECIDABLE_DIFFERENCE, MOST_ROUNDS, verdict


def test_verdicts_are_given_only_beyond_the_resolution() -> None:
    edge = 1 + MIN_DECIDABLE_DIFFERENCE
    assert verdict(Interval(1.1, edge + 0.001, 1.2), 10).outcome == "faster"
    assert verdict(Interval(0.9, 0.8, 1 / edge - 0.001), 10).outcome == "slower"
    for speed in (Interval(1.008, 1.007, 1.009), Interval(1.1, 1.009, 1.2), Interval(1, 1, 1)):
        assert verdict(speed, 10).outcome == "undecided"


def test_the_rounds_needed_narrow_the_interval_enough() -> None:
    draw = random.Random(0)

    def speeds(rounds: int) -> Interval:
        return median_interval([1.05 * draw.lognormvariate(0, 0.1) for _ in range(rounds)])

    verdicts = [verdict(speeds(40), 40) for _ in range(60)]
    undecided = [each.rounds_needed for each in verdicts if each.rounds_needed]
    assert len(undecided) > 30
    needed = int(np.median(undecided))
    assert 40 < needed < MOST_ROUNDS
    outcomes = [verdict(speeds(2 * needed), 2 * needed).outcome for _ in range(40)]
    assert outcomes.count("faster") > 20


def test_speeds_that_are_alike_within_a_narrow_interval_are_too_close() -> None:
    assert verdict(Interval(1.002, 0.99, 1.015), 200).is_too_close
    wide = verdict(Interval(1.002, 0.9, 1.1), 200)
    assert not wide.is_too_close
    assert wide.rounds_needed == pytest.approx(200 * (0.2 / 1.002 / 0.05) ** 2, abs=1)
    assert not verdict(Interval(1.1, 1.05, 1.15), 200).is_too_close


def test_rounds_needed_are_unknown_without_a_number_of_rounds() -> None:
    result = verdict(Interval(1.002, 0.9, 1.1))
    assert (result.outcome, result.rounds_needed, result.is_too_close) == ("undecided", None, False)
