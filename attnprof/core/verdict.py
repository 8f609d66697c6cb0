"""Whether a kernel is faster or slower than a reference; if undecided, the rounds needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from attnprof.core.intervals import Interval

MIN_DECIDABLE_DIFFERENCE = 0.01
"""Smaller relative differences get no verdict: two builds of one kernel, with their tensors at
other addresses, differ by as much, and no number of rounds in one process shows it."""

TARGET_RELATIVE_WIDTH = 0.05
"""An interval whose width, divided by its median, is no larger than this is narrow enough."""

MOST_ROUNDS = 10_000
"""The largest number of rounds of one measurement, whatever its time budget."""

Outcome = Literal["faster", "slower", "undecided"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a kernel is faster than a reference, from the rounds that ran both.

    Attributes:
        outcome: `undecided` if the interval contains a speed within `RESOLUTION` of the
            reference's.
        speed: how many times as fast as the reference.
        rounds: the number of rounds; 0 if unknown.
        rounds_needed: about how many rounds in total would decide, possibly more than
            `MOST_ROUNDS`; None if it is decided, if the two are too close, or if it is unknown.
    """

    outcome: Outcome
    speed: Interval
    rounds: int
    rounds_needed: int | None = None

    @property
    def is_too_close(self) -> bool:
        """Whether the two are so similar that further rounds are not worth their time."""
        return self.outcome == "undecided" and self.rounds > 0 and self.rounds_needed is None

    @property
    def is_within_resolution(self) -> bool:
        """Whether the median is within `RESOLUTION` of the reference's speed."""
        return abs(math.log(self.speed.median)) <= math.log1p(MIN_DECIDABLE_DIFFERENCE)


def verdict(speed: Interval, rounds: int = 0) -> Verdict:
    """The verdict on a ratio of speeds and its interval.

    The interval decides if it contains no ratio within `RESOLUTION` of 1. Its width is inversely
    proportional to the square root of the number of rounds. If no feasible number of rounds can
    decide, the two are too close once the interval is as narrow as `TARGET_RELATIVE_WIDTH`.

    Args:
        speed: how many times as fast as the reference.
        rounds: the number of rounds it was computed from; 0 if unknown.
    """
    resolution = math.log1p(MIN_DECIDABLE_DIFFERENCE)
    low, middle, high = (math.log(end) for end in (speed.low, speed.median, speed.high))
    if low > resolution:
        return Verdict("faster", speed, rounds)
    if high < -resolution:
        return Verdict("slower", speed, rounds)
    distance = abs(middle) - resolution
    half_width = middle - low if middle > 0 else high - middle
    narrowing = half_width / distance if distance > 0 else math.inf
    if not rounds or rounds * narrowing**2 > MOST_ROUNDS:
        narrowing = speed.relative_width / TARGET_RELATIVE_WIDTH
    needed = math.ceil(rounds * narrowing**2) if rounds and narrowing > 1 else None
    return Verdict("undecided", speed, rounds, needed)
