"""Grades of noise, their meaning and the remedies."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace
from typing import Any

import pytest
from machines import IDLE, NOISY

from attnprof.analysis.noise import QUIET, diagnose, rounds_needed
from attnprof.core.machine import (
    Noise,
)


def test_the_rounds_needed_are_enough() -> None:
    # Medians of that many ratios of a normal distribution, by simulation.
    spread, precision, draw = 0.08, 0.02, random.Random(0)
    rounds = rounds_needed(spread, precision)
    medians = [
        statistics.median(draw.gauss(1, spread / 1.349) for _ in range(rounds)) for _ in range(4000)
    ]
    within = sum(abs(median - 1) <= precision for median in medians) / len(medians)
    assert within == pytest.approx(0.99, abs=0.006)
    assert rounds_needed(0.0) == 1


@pytest.mark.parametrize(
    ("single", "paired", "grade"),
    [
        (0.01, 0.005, "quiet"),
        (0.01, QUIET, "quiet"),
        (0.03, 0.03, "usable"),
        (0.09, 0.01, "usable"),
        (0.05, 0.10, "noisy"),
        (0.29, 0.01, "noisy"),
        (0.10, 0.40, "very noisy"),
        (0.90, 0.01, "very noisy"),
    ],
)
def test_grades_follow_pairs_and_half_of_single_times(
    single: float, paired: float, grade: str
) -> None:
    assert diagnose(Noise(single_spread=single, paired_spread=paired), IDLE).grade == grade


def test_meaning_has_the_spreads_and_the_rounds_that_they_need() -> None:
    singles, pairs = diagnose(NOISY, None).meaning
    assert "interquartile range 12 %" in singles
    assert "at least 150 % above" in singles
    assert "interquartile range 8.0 %" in pairs
    assert "92 rounds give a 99 % interval of ±2 %" in pairs


@pytest.mark.parametrize(
    ("seen", "remedy"),
    [
        ({"cores_used_by_others": 1.3}, "other processes used 1.3 of 2 cores: close them"),
        ({"stolen_share": 0.08}, "the hypervisor took 8.0 % of the time"),
        ({"threads": 4}, "4 threads on 2 cores: use --threads 2"),
        ({"quota_cores": 1.5}, "the container may use 1.5 cores: use --threads 1"),
        ({"physical_cores": 1}, "2 threads share 1 physical core: --threads 1"),
        ({"governor": "powersave"}, "governor is powersave"),
        ({"on_battery": True}, "runs on battery"),
    ],
)
def test_each_remedy_follows_from_the_observed_conditions(
    seen: dict[str, Any], remedy: str
) -> None:
    found = diagnose(NOISY, replace(IDLE, **seen)).remedies
    assert len(found) == 1
    assert remedy in found[0]


def test_no_remedy_without_evidence_nor_on_a_quiet_machine() -> None:
    harmless = replace(IDLE, governor="performance", on_battery=False, stolen_share=0.0)
    assert diagnose(NOISY, harmless).remedies == (
        "no cause found; raise --max-seconds to average the noise out",
    )
    quiet = Noise(single_spread=0.01, paired_spread=0.01)
    assert diagnose(quiet, replace(IDLE, cores_used_by_others=2.0)).remedies == ()
