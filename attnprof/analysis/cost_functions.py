"""Costs of a series as functions of length: in closed form, or counted within a budget."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cache
from typing import Literal

from attnprof.analysis.masked_kernel import MaskedKernel, masked_kernel
from attnprof.analysis.series import Series
from attnprof.core.errors import MeasurementError
from attnprof.core.growth.empirical import EmpiricalGrowth, fit_growth
from attnprof.core.growth.work_budget import ANSWER_SECONDS, expected_work, loops_in_python
from attnprof.core.mask_pattern import mask_layers
from attnprof.core.workload import Workload
from attnprof.kernels.custom import CustomKernel, is_target, reply_deadline
from attnprof.kernels.custom.saved import RecordedKernel, SavedKernel
from attnprof.kernels.custom.target import Work

Predicted = Literal["MACs", "memory"]
"""The costs that are known without timing or measuring memory."""

QUANTITIES: dict[Predicted, str] = {"MACs": "executed_macs", "memory": "predicted_peak_bytes"}

_MOST_OPERATORS = 2048
"""Operators of one count, or twice as many as at the longest length of the table."""

_ALL_OPERATORS = 8 * _MOST_OPERATORS

_MOST_COUNTS = 24
"""All counts of a series may take `_ALL_OPERATORS`, or so many times the longest length's."""

_Points = tuple[tuple[int, int], ...]
_Counted = CustomKernel | RecordedKernel | SavedKernel | MaskedKernel

_FAR = 2**40
"""A length in tokens at which only closed forms are known."""


def has_closed_form(series: Series, resource: Predicted) -> bool:
    """Whether a cost is known at any length: not of custom kernels, nor if masks are evaluated."""
    if series.is_custom:
        return False
    if not mask_layers(series.workload.pattern):
        return True
    cost = series.kernel.executed_macs if resource == "MACs" else series.kernel.peak_bytes
    try:
        cost(series.workload.at(_FAR))
    except MeasurementError:
        return False
    return True


def closed_costs(series: Series) -> dict[Predicted, Callable[[int], int]]:
    """Closed forms of a built-in kernel; constant at lengths that lack the last global position."""
    kernel, workload = series.kernel, series.workload
    shortest = 1 + max(layer.last_position for layer in workload.layers)

    def cost(of: Callable[[Workload], int]) -> Callable[[int], int]:
        @cache
        def at(seq_len: int) -> int:
            return of(workload.at(max(seq_len, shortest)))

        return at

    return {"MACs": cost(kernel.executed_macs), "memory": cost(kernel.peak_bytes)}


class EmpiricalCosts:
    """Costs of a custom kernel, each counted at most once, within a budget of operators.

    Args:
        kernel: the custom kernel.
        workload: the call, at the longest length of the table.
        counted: (length, cost) of the table, in ascending lengths. A kernel that can be counted
            only by real runs is not run at longer lengths.
    """

    def __init__(
        self,
        kernel: _Counted,
        workload: Workload,
        counted: Mapping[Predicted, _Points],
    ) -> None:
        self._kernel = kernel
        self._workload = workload
        self._counted = counted
        self._known: dict[tuple[Predicted, int], int | None] = {
            (resource, length): cost
            for resource, points in counted.items()
            for length, cost in points
        }
        # Global positions are inside the sequence.
        self._shortest = 1 + max(0, *(layer.last_position for layer in workload.layers))
        self._longest = max((length for _, length in self._known), default=0)
        if isinstance(kernel, SavedKernel):
            self._known |= {("MACs", n): macs for n, macs in kernel.costs.executed_macs.items()}
            self._known |= {("memory", n): peak for n, peak in kernel.costs.peak_bytes.items()}
        self._works: dict[int, Work] = {}
        self._spent = 0
        self._growth: dict[Predicted, EmpiricalGrowth | None] = {}

    def count(self, resource: Predicted, seq_len: int) -> int | None:
        """The cost; None where the kernel does not run, or where counting exceeds the budget."""
        key = (resource, seq_len)
        if key not in self._known:
            self._known[key] = self._count(resource, seq_len)
        return self._known[key]

    def growth(self, resource: Predicted) -> EmpiricalGrowth | None:
        """How the cost grows; None where it was counted at fewer than two lengths."""
        if resource not in self._growth:
            lengths = [length for length, _ in self._counted[resource]]
            self._growth[resource] = (
                fit_growth(lambda n: self.count(resource, n), lengths, self._takes_as_long)
                if lengths
                else None
            )
        return self._growth[resource]

    def _takes_as_long(self, shorter: int, longer: int) -> bool:
        """Whether counting at two lengths runs equally many operators, as far as that is known."""
        with suppress(MeasurementError):
            return self._work(shorter).operators == self._work(longer).operators
        return False

    def _count(self, resource: Predicted, seq_len: int) -> int | None:
        if seq_len < self._shortest:
            return None
        measure = self._kernel.executed_macs if resource == "MACs" else self._kernel.peak_bytes
        workload = self._workload.at(seq_len)
        try:
            with _silent(), reply_deadline(ANSWER_SECONDS):
                if self._kernel.unsupported_reason(workload) is not None or not self._is_in_reach(
                    seq_len
                ):
                    return None
                cost = measure(workload)
                self._spent += self._work(seq_len).operators
                return cost
        except Exception:  # user code, which need not run at every length
            return None

    def _work(self, seq_len: int) -> Work:
        if seq_len not in self._works:
            self._works[seq_len] = self._kernel.work_of_counting(self._workload.at(seq_len))
        return self._works[seq_len]

    def _is_in_reach(self, seq_len: int) -> bool:
        """Whether counting at a length stays within the budget."""
        if isinstance(self._kernel, MaskedKernel):
            return self._kernel.is_in_reach(self._workload.at(seq_len), self._spent)
        at_longest = self._work(self._longest)
        if seq_len > self._longest and at_longest.is_real:
            return False
        for n, _ in (point for points in self._counted.values() for point in points):
            self._work(n)
        operators = {n: work.operators for n, work in self._works.items()}
        seconds = {n: work.seconds for n, work in self._works.items()}
        expected = expected_work(operators, seq_len)
        return (
            expected <= max(_MOST_OPERATORS, 2 * at_longest.operators)
            and self._spent + expected <= max(_ALL_OPERATORS, _MOST_COUNTS * at_longest.operators)
            and not loops_in_python(operators, seconds, seq_len)
        )


@contextmanager
def _silent() -> Generator[None]:
    """Discards what user code prints and torch logs: the rows already report failures."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def counted_costs(series: Series) -> EmpiricalCosts:
    """The costs of a series of a custom kernel; counts are cached between calls."""
    macs, memory = (tuple(series.points(quantity)) for quantity in QUANTITIES.values())
    kernel = series.saved or series.kernel
    if not series.is_custom:
        kernel = masked_kernel(series.rows[0].kernel)
    assert isinstance(kernel, RecordedKernel | SavedKernel | MaskedKernel) or is_target(kernel)
    return _counted_costs(kernel, series.workload, macs, memory)


@cache
def _counted_costs(
    kernel: _Counted, workload: Workload, macs: _Points, memory: _Points
) -> EmpiricalCosts:
    return EmpiricalCosts(kernel, workload, {"MACs": macs, "memory": memory})
