"""Costs of a series as functions of length: in closed form, or counted as far as that goes."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import cache
from typing import Literal

from attnprof.counted_growth import CountedGrowth, tell_growth
from attnprof.kernels import Kernel
from attnprof.series import Series
from attnprof.targets import answering_within, is_target
from attnprof.workload import Workload

Predicted = Literal["MACs", "memory"]
"""The costs that are known without measuring."""

QUANTITIES: dict[Predicted, str] = {"MACs": "executed_macs", "memory": "predicted_peak_bytes"}


def closed_costs(series: Series) -> dict[Predicted, Callable[[int], int]]:
    """Closed forms of a built-in kernel; constant below the last global position."""
    kernel, workload = series.kernel, series.workload
    shortest = 1 + max(layer.last_position for layer in workload.layers)

    def cost(of: Callable[[Workload], int]) -> Callable[[int], int]:
        @cache
        def at(seq_len: int) -> int:
            return of(workload.at(max(seq_len, shortest)))

        return at

    return {"MACs": cost(kernel.executed_macs), "memory": cost(kernel.peak_bytes)}


_SLOW_OPERATORS = 2**10
"""Of one count, which take part of a second: where they grow with the length, longer ones are left
alone."""

_ALL_OPERATORS = 2**15
"""Of all counts of one series, beyond which there are no more."""

_MACS_OF_AN_OPERATOR = 2**22
"""What has to be run to be counted is as much work for so many MACs as for one operator more."""

_PATIENCE_SECONDS = 60.0
"""For one count that hangs. Else nothing here goes by the clock: laws are the same everywhere."""


_Points = tuple[tuple[int, int], ...]


class CountedCosts:
    """Costs of the user's own, each counted once where it runs and where counting takes no time.

    Args:
        kernel: the user's own.
        workload: the call, at the longest length of the table.
        counted: (length, cost) in ascending lengths, as they are in the table. Without any of
            memory it cannot be counted on fake tensors: what has to be run to be counted is not
            run at lengths beyond those that were asked for.
    """

    def __init__(
        self, kernel: Kernel, workload: Workload, counted: Mapping[Predicted, _Points]
    ) -> None:
        self._kernel = kernel
        self._workload = workload
        self._counted = counted
        self._known: dict[tuple[Predicted, int], int | None] = {
            (resource, length): cost
            for resource, points in counted.items()
            for length, cost in points
        }
        self._asked = max((length for _, length in self._known), default=0)
        self._longest = sys.maxsize if counted["memory"] else self._asked
        self._is_run = not counted["memory"]
        self._work: dict[int, int] = {}
        self._growth: dict[Predicted, CountedGrowth | None] = {}

    def count(self, resource: Predicted, seq_len: int) -> int | None:
        """The cost; None where it does not run, or where no time is left to count it."""
        key = (resource, seq_len)
        if key not in self._known:
            self._known[key] = self._count(resource, seq_len)
        return self._known[key]

    def growth(self, resource: Predicted) -> CountedGrowth | None:
        """How the cost grows; None where it was counted at too few lengths to tell."""
        if resource not in self._growth:
            lengths = [length for length, _ in self._counted[resource]]
            self._growth[resource] = (
                tell_growth(lambda n: self.count(resource, n), lengths, self._takes_as_long)
                if lengths
                else None
            )
        return self._growth[resource]

    def _takes_as_long(self, shorter: int, longer: int) -> bool:
        """Whether counting at two lengths was equally much work."""
        for seq_len in (shorter, longer):
            self._spend(self._workload.at(seq_len))
        return self._work[shorter] == self._work[longer]

    def _count(self, resource: Predicted, seq_len: int) -> int | None:
        is_too_much = sum(self._work.values()) > _ALL_OPERATORS
        if seq_len < 1 or seq_len > self._longest or is_too_much:
            return None
        take = self._kernel.executed_macs if resource == "MACs" else self._kernel.peak_bytes
        workload = self._workload.at(seq_len)
        with _silent(), answering_within(_PATIENCE_SECONDS):
            try:
                if self._kernel.supports(workload) is not None:
                    return None
                value = take(workload)
            except Exception:  # it is the user's code, and need not run at every length
                value = None
            self._spend(workload)
        return value

    def _spend(self, workload: Workload) -> None:
        """Note the work of a count; one that fails is taken to be as much as the one before."""
        seq_len = workload.seq_len
        if seq_len in self._work:
            return
        try:
            work = self._kernel.operators(workload) if is_target(self._kernel) else 0
            if self._is_run:
                work += self._kernel.executed_macs(workload) // _MACS_OF_AN_OPERATOR
        except Exception:
            work = max(self._work.values(), default=0)
        self._work[seq_len] = work
        if work > _SLOW_OPERATORS and work > min(self._work.values()):
            self._longest = min(self._longest, max(seq_len, self._asked))


@contextmanager
def _silent() -> Generator[None]:
    """What the user's code prints and torch logs, where it fails, was told with its own row."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def counted_costs(series: Series) -> CountedCosts:
    """The costs of a series of the user's own; counts are kept from one call to the next."""
    macs, memory = (tuple(series.points(quantity)) for quantity in QUANTITIES.values())
    return _counted_costs(series.kernel, series.workload, macs, memory)


@cache
def _counted_costs(
    kernel: Kernel, workload: Workload, macs: _Points, memory: _Points
) -> CountedCosts:
    return CountedCosts(kernel, workload, {"MACs": macs, "memory": memory})
