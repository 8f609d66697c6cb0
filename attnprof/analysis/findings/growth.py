"""How the MACs of each series grow."""

from __future__ import annotations

from dataclasses import dataclass

from attnprof.analysis.cost_functions import closed_costs, counted_costs, has_closed_form
from attnprof.analysis.series import Series
from attnprof.core.growth.laws import DoublingLaw, name_law
from attnprof.core.growth.polynomial import Growth, solve_growth

_DOUBLINGS = range(4, 11)
"""Doublings of the longest length, the last of which show the highest power of the cost."""


@dataclass(frozen=True, slots=True)
class GrowthFinding:
    """How the executed MACs of a series grow.

    Attributes:
        label: the series.
        growth: the exact polynomial, solved at multiples of `step`; None where there is none.
        longest: the longest length of the series, in tokens.
        step: the multiple of tokens that the kernel pads lengths to; 1 without padding.
        multiple: the polynomial was checked only at multiples of so many tokens; 1 where it holds
            between them too.
        law: the law at long lengths, where the polynomial does not hold there.
        solved_to: the longest length that the polynomial was solved from, in tokens.
    """

    label: str
    growth: Growth | None
    longest: int
    step: int
    multiple: int
    law: DoublingLaw | None
    solved_to: int


def find_growth(series: Series) -> GrowthFinding | None:
    """The growth of one series; None where its MACs could be counted at fewer than two lengths."""
    return _of_closed_form(series) if has_closed_form(series, "MACs") else _of_counts(series)


def _of_closed_form(series: Series) -> GrowthFinding:
    """Solved at four multiples of the longest length, rounded up to what the kernel pads to.

    Tiles may fit a polynomial at these four by chance, so that it has to hold far beyond them too.
    """
    cost = closed_costs(series)["MACs"]
    longest = series.workload.seq_len
    step = series.kernel.padding_multiple(series.workload)
    base = -(-longest // step) * step
    growth = solve_growth(cost, (base, 2 * base, 3 * base, 4 * base))
    points = [(base << doubling, cost(base << doubling)) for doubling in _DOUBLINGS]
    if not growth.residual and growth.at(points[-1][0]) == points[-1][1]:
        return GrowthFinding(series.label, growth, longest, step, 1, None, 4 * base)
    law = name_law(points)
    return GrowthFinding(series.label, None, longest, step, 1, law, law.longer)


def _of_counts(series: Series) -> GrowthFinding | None:
    fitted = counted_costs(series).growth("MACs")
    if fitted is None:
        return None
    longest = series.points("executed_macs")[-1][0]
    return GrowthFinding(
        series.label,
        fitted.growth,
        longest,
        fitted.step,
        fitted.multiple,
        fitted.law,
        fitted.longest,
    )
