"""Predicts how long the rest of a comparison takes, for its progress display."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attnprof.core.workload import Case

FIRST_CASE_SECONDS = 5.0
"""What a case is expected to take alone before any has been measured: mostly imports."""
LARGEST_PART = 0.99
"""The most that is ever done before the end: the last results are still to be written."""


class TimePlan:
    """What is done and what is to come, in seconds.

    A case alone is expected to take what the same kernel took at a shorter length, longer in
    proportion to the length; the timed rounds of a group, what those of the last one took, or
    else their budget.

    Args:
        groups: the cases of each group, in the order in which they run.
        rounds_seconds: budget of the timed rounds of one group; 0 if nothing is timed.
        clock: seconds, from any origin.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[Case]],
        rounds_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._later = list(groups)
        self._here: list[Case] = []
        self._rounds_seconds = rounds_seconds
        self._clock = clock
        self._start = clock()
        self._alone_seconds: dict[str, tuple[int, float]] = {}
        self._alone: tuple[Case, float] | None = None
        self._rounds_start: float | None = None
        self._rounds_part = 0.0
        self._has_rounds_here = False
        self._done = 0.0

    def begin_group(self, cases: Sequence[Case]) -> None:
        """The next group begins; of its cases, these run."""
        self._later.pop(0)
        self._here = list(cases)
        self._has_rounds_here = bool(cases)

    def begin_alone(self, case: Case) -> None:
        """A case is measured alone from now on."""
        self._here.remove(case)
        self._alone = (case, self._clock())

    def end_alone(self) -> None:
        """The case is done with, until it is timed."""
        if self._alone is not None:
            case, start = self._alone
            self._alone_seconds[case.kernel] = (case.workload.seq_len, self._clock() - start)
        self._alone = None

    def begin_rounds(self) -> None:
        """The timed rounds of this group begin."""
        self._rounds_start, self._rounds_part = self._clock(), 0.0

    def in_rounds(self, part: float) -> None:
        """So much of the timed rounds of this group is done, from 0 to 1."""
        self._rounds_part = part

    def end_group(self) -> None:
        """All of this group is done."""
        if self._rounds_start is not None:
            self._rounds_seconds = self._clock() - self._rounds_start
        self._rounds_start, self._has_rounds_here = None, False

    @property
    def done(self) -> float:
        """The fraction of all work that is done; never less than before, and never 1."""
        spent = self._clock() - self._start
        left = self.left_seconds
        part = spent / (spent + left) if spent + left else 0.0
        self._done = max(self._done, min(part, LARGEST_PART))
        return self._done

    @property
    def left_seconds(self) -> float:
        """How many seconds the rest is expected to take."""
        waiting = [*self._here, *(case for cases in self._later for case in cases)]
        seconds = sum(map(self._expected_alone, waiting))
        seconds += self._rounds_seconds * len(self._later)
        if self._alone is not None:
            case, start = self._alone
            seconds += max(0.0, self._expected_alone(case) - (self._clock() - start))
        if self._has_rounds_here:
            seconds += self._rounds_left()
        return seconds

    def _rounds_left(self) -> float:
        if self._rounds_start is None:
            return self._rounds_seconds
        spent = self._clock() - self._rounds_start
        if not self._rounds_part:
            return max(0.0, self._rounds_seconds - spent)
        return spent * (1 - self._rounds_part) / self._rounds_part

    def _expected_alone(self, case: Case) -> float:
        known = self._alone_seconds.get(case.kernel)
        if known is not None:
            seq_len, seconds = known
            return seconds * max(1.0, case.workload.seq_len / seq_len)
        others = [seconds for _, seconds in self._alone_seconds.values()]
        return sum(others) / len(others) if others else FIRST_CASE_SECONDS
