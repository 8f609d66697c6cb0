"""The length from which one kernel stays faster or slower than another, as far as measured.

Only verdicts decide: a length whose ratio is undecided, or whose verdict was withheld, is on
neither side, and no crossover is interpolated across it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from attnprof.analysis.crossover import Crossover, Side
from attnprof.core.verdict import Outcome

_SIDES: dict[str, Side] = {"faster": "less", "slower": "more"}


@dataclass(frozen=True, slots=True)
class MeasuredRatio:
    """A measured cost divided by the reference's at one length, with its confidence interval."""

    seq_len: int
    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TimedLength:
    """What is known of two times at one length.

    Attributes:
        seq_len: the length in tokens.
        outcome: the verdict; `withheld` where other work on the machine disturbed the rounds.
        ratio: of the times; None where the verdict is withheld.
    """

    seq_len: int
    outcome: Outcome | Literal["withheld"]
    ratio: MeasuredRatio | None = None


@dataclass(frozen=True, slots=True)
class MeasuredCrossover:
    """The length from which a kernel is faster than another, or slower.

    Attributes:
        crossover: the side at the longest length, `equal` if that is not decided; `first`, the
            first of the measured lengths from which all have that side; and `before`, the last
            length before it with the opposite side, 0 if there is none.
        lengths: what is known at each measured length, in ascending lengths.
        length: interpolated between `before` and `first`; None unless these are neighbours.
        low: the shortest length that the intervals of the two ratios allow; None without `length`.
        high: the longest that they allow.
    """

    crossover: Crossover
    lengths: tuple[TimedLength, ...]
    length: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def is_same_everywhere(self) -> bool:
        """Whether the verdict is the same at every length, and decided."""
        outcomes = {timed.outcome for timed in self.lengths}
        return len(outcomes) == 1 and self.crossover.side != "equal"


def find_measured_crossover(lengths: Sequence[TimedLength]) -> MeasuredCrossover:
    """The last crossover of two times.

    Between two neighbours with opposite verdicts the crossover is where the ratio is 1, with
    log(ratio) linear in log(length).

    Args:
        lengths: one or more, in ascending lengths.
    """
    last, known = lengths[-1], tuple(lengths)
    side = _SIDES.get(last.outcome)
    if side is None:
        return MeasuredCrossover(Crossover("equal", 0, last.seq_len), known)
    same = list(takewhile(lambda timed: timed.outcome == last.outcome, reversed(lengths)))
    earlier = lengths[: len(lengths) - len(same)]
    opposite = [timed for timed in earlier if timed.outcome in _SIDES.keys() - {last.outcome}]
    before = opposite[-1].seq_len if opposite else 0
    crossover = Crossover(side, before, same[-1].seq_len)
    if not opposite or opposite[-1] is not earlier[-1]:
        return MeasuredCrossover(crossover, known)
    return _interpolated(crossover, known, opposite[-1].ratio, same[-1].ratio)


def _interpolated(
    crossover: Crossover,
    lengths: tuple[TimedLength, ...],
    before: MeasuredRatio | None,
    after: MeasuredRatio | None,
) -> MeasuredCrossover:
    assert before is not None  # both lengths are decided
    assert after is not None

    def crossed(start: float, end: float) -> float:
        """The length at which the line through two ratios is 1; they are on its two sides."""
        part = math.log(start) / math.log(start / end)
        return before.seq_len * (after.seq_len / before.seq_len) ** part

    low, high = sorted((crossed(before.low, after.low), crossed(before.high, after.high)))
    return MeasuredCrossover(crossover, lengths, crossed(before.median, after.median), low, high)
