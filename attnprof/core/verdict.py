"""Whether a kernel is faster or slower than another, and what would decide it if that is open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from attnprof.core.intervals import Interval

RESOLUTION = 0.01
"""Differences that are not called: two builds of one kernel, with their tensors at other addresses,
differ by as much, and no number of rounds in one process shows it."""

TARGET_RELATIVE_WIDTH = 0.05
"""Narrow enough: an interval's width as a part of its median."""

MOST_ROUNDS = 10_000
"""Rounds of one measurement, whatever its budget."""

Outcome = Literal["faster", "slower", "undecided"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rounds say of a kernel against another.

    Attributes:
        outcome: `undecided` where the interval holds a speed within `RESOLUTION` of the other's.
        speed: how many times as fast.
        rounds: that it is told from; 0 where that is not known.
        rounds_needed: about how many rounds in all would decide, which may be more than
            `MOST_ROUNDS`; None where it is decided, where it is too close, and where it is not
            known.
    """

    outcome: Outcome
    speed: Interval
    rounds: int
    rounds_needed: int | None = None

    @property
    def is_too_close(self) -> bool:
        """Whether it is as good as alike, so that more rounds are not worth their time."""
        return self.outcome == "undecided" and self.rounds > 0 and self.rounds_needed is None

    @property
    def is_alike(self) -> bool:
        """Whether the median is within `RESOLUTION` of the other's speed."""
        return abs(math.log(self.speed.median)) <= math.log1p(RESOLUTION)


def verdict(speed: Interval, rounds: int = 0) -> Verdict:
    """The verdict on a ratio of speeds, 1 of which are alike, from so many rounds.

    An interval narrows with the root of the number of rounds. It decides when it clears what is
    within `RESOLUTION` of 1. A median that is too near for that is too close once its interval is
    as narrow as `NOISE_TARGET_HALF_WIDTH`.
    """
    alike = math.log1p(RESOLUTION)
    low, middle, high = (math.log(end) for end in (speed.low, speed.median, speed.high))
    if low > alike:
        return Verdict("faster", speed, rounds)
    if high < -alike:
        return Verdict("slower", speed, rounds)
    distance = abs(middle) - alike
    reach = middle - low if middle > 0 else high - middle
    narrowing = reach / distance if distance > 0 else math.inf
    if not rounds or rounds * narrowing**2 > MOST_ROUNDS:
        narrowing = speed.relative_width / TARGET_RELATIVE_WIDTH
    needed = math.ceil(rounds * narrowing**2) if rounds and narrowing > 1 else None
    return Verdict("undecided", speed, rounds, needed)
