"""What follows from a table: growth of costs, where a sparse kernel pays, what ptflops missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from attnprof.growth import (
    Cost,
    Growth,
    doubling_exponent,
    measured_crossing,
    pays_from,
    solve_growth,
)
from attnprof.records import RATIO, ResultTable
from attnprof.series import Series, series_of
from attnprof.workload import Workload

Resource = Literal["MACs", "memory", "time"]


@dataclass(frozen=True, slots=True)
class Doubling:
    """The exponent of the growth between a length and its double."""

    shorter: int
    longer: int
    exponent: float


@dataclass(frozen=True, slots=True)
class GrowthFinding:
    """How the executed MACs of a series grow.

    Attributes:
        label: the series.
        growth: solved at multiples of `step`.
        longest: the longest length of the series.
        step: the multiple that the kernel pads lengths to.
        doubling: the exponent between two large lengths, where no polynomial holds exactly.
    """

    label: str
    growth: Growth
    longest: int
    step: int
    doubling: Doubling | None


@dataclass(frozen=True, slots=True)
class PayFinding:
    """Where a sparse series costs less than a dense one.

    Attributes:
        label: the sparse series.
        reference: the dense series.
        resource: what is compared.
        crossing: the lengths between which it begins to pay: the second pays, the first does not;
            None where it does not pay at the longest.
        longest: the longest length that both have.
        ratio: the sparse cost at the longest length in units of the dense one.
        interval: of a measured ratio; None where it is exact.
    """

    label: str
    reference: str
    resource: Resource
    crossing: tuple[int, int] | None
    longest: int
    ratio: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class CounterFinding:
    """What a backend of ptflops counted of a series at its longest counted length.

    Attributes:
        label: the series.
        backend: `pytorch` or `aten`.
        seq_len: the length.
        counted_macs: what ptflops says.
        executed_macs: what is multiplied.
        unseen: the operation whose products ptflops does not see, where it is known.
        is_training: whether the MACs executed are those of forward and backward.
        shorter: the length before, None where there is one length only.
        counted_exponent: growth of the counts between the two lengths, as n to this power.
        executed_exponent: growth of what is multiplied.
    """

    label: str
    backend: Literal["pytorch", "aten"]
    seq_len: int
    counted_macs: int
    executed_macs: int
    unseen: str
    is_training: bool
    shorter: int | None
    counted_exponent: float
    executed_exponent: float


@dataclass(frozen=True, slots=True)
class Findings:
    """All that follows from a table."""

    growth: tuple[GrowthFinding, ...]
    pays: tuple[PayFinding, ...]
    counters: tuple[CounterFinding, ...]


def find(table: ResultTable) -> Findings:
    """What follows from a table, in the order of its series."""
    everything = [series for series in series_of(table) if series.is_supported]
    built_in = [series for series in everything if not series.is_own]
    costs = [(series, _costs(series)) for series in built_in]
    pays = [
        finding
        for one, sparse in costs
        for other, dense in costs
        if (one.kernel.attends, other.kernel.attends) == ("pattern", "dense")
        and one.workload.densified().at(1) == other.workload.at(1)
        for finding in [*_pays(one, other, sparse, dense), *_pays_in_time(one, other)]
    ]
    counters = [finding for series in everything for finding in _counters(series)]
    growth_of = {series.label: _growth(series, own["MACs"]) for series, own in costs}
    growth_of |= {series.label: _growth_of_own(series) for series in everything if series.is_own}
    growth = (growth_of[series.label] for series in everything)
    return Findings(
        growth=tuple(finding for finding in growth if finding is not None),
        pays=tuple(pays),
        counters=tuple(counters),
    )


_Costs = dict[Resource, Cost]

_LARGE = 512
"""So many times the longest length the exponent of a doubling is that of the highest power."""


def _costs(series: Series) -> _Costs:
    """Closed forms as functions of length; constant below the last global position."""
    kernel, workload = series.kernel, series.workload
    shortest = 1 + max(layer.last_position for layer in workload.layers)

    def cost(of: Callable[[Workload], int]) -> Cost:
        @cache
        def at(seq_len: int) -> int:
            return of(workload.at(max(seq_len, shortest)))

        return at

    return {"MACs": cost(kernel.executed_macs), "memory": cost(kernel.peak_bytes)}


def _growth(series: Series, cost: Cost) -> GrowthFinding:
    """Solved at four multiples of the longest length, rounded up to what the kernel pads to."""
    longest = series.workload.seq_len
    step = series.kernel.length_step(series.workload)
    base = -(-longest // step) * step
    growth = solve_growth(cost, (base, 2 * base, 3 * base, 4 * base))
    doubling = None
    if growth.residual:
        points = [(length, cost(length)) for length in (_LARGE * base, 2 * _LARGE * base)]
        doubling = Doubling(points[0][0], points[1][0], doubling_exponent(*points))
    return GrowthFinding(series.label, growth, longest, step, doubling)


def _growth_of_own(series: Series) -> GrowthFinding | None:
    """Solved at the quarters of the longest length that was counted; None where they cannot run.

    Longer ones may be beyond what it has positions for, or need numbers.
    """
    counted = series.points("executed_macs")
    quarter = counted[-1][0] // 4 if counted else 0
    if not quarter:
        return None
    lengths = tuple(quarter * part for part in (1, 2, 3, 4))
    try:
        macs = {n: series.kernel.executed_macs(series.workload.at(n)) for n in lengths}
    except Exception:  # it is the user's code, and need not run at every length
        return None
    growth = solve_growth(macs.__getitem__, lengths)
    doubling = None
    if growth.residual:
        shorter, longer = lengths[1], lengths[3]
        if not (macs[shorter] and macs[longer]):
            return None
        exponent = doubling_exponent((shorter, macs[shorter]), (longer, macs[longer]))
        doubling = Doubling(shorter, longer, exponent)
    return GrowthFinding(series.label, growth, counted[-1][0], 1, doubling)


def _pays(one: Series, other: Series, sparse: _Costs, dense: _Costs) -> list[PayFinding]:
    longest = one.workload.seq_len
    step = one.kernel.length_step(one.workload)
    findings: list[PayFinding] = []
    for resource, cost in sparse.items():
        reference = dense[resource]
        first = pays_from(cost, reference, step, longest)
        findings.append(
            PayFinding(
                one.label,
                other.label,
                resource,
                None if first is None else (first - 1, first),
                longest,
                cost(longest) / reference(longest),
            )
        )
    return findings


def _pays_in_time(one: Series, other: Series) -> list[PayFinding]:
    """From ratios of paired rounds, not from two medians: drift hits both of a pair alike."""
    name = other.rows[0].kernel
    timed = [row for row in one.rows if f"{RATIO}:{name}" in row.values]
    if not timed:
        return []
    ratios = [(row.workload.seq_len, float(row.values[f"{RATIO}:{name}"])) for row in timed]
    low, high = (timed[-1].values[f"{RATIO}_{end}:{name}"] for end in ("low", "high"))
    longest, ratio = ratios[-1]
    return [
        PayFinding(
            one.label,
            other.label,
            "time",
            measured_crossing(ratios),
            longest,
            ratio,
            (float(low), float(high)),
        )
    ]


def _counters(series: Series) -> list[CounterFinding]:
    findings: list[CounterFinding] = []
    # What is the user's own may have no count, or no products.
    executed = {length: macs for length, macs in series.points("executed_macs") if macs}
    for backend in ("pytorch", "aten"):
        counts = series.points(f"ptflops_{backend}_macs")
        points = [(length, macs) for length, macs in counts if length in executed]
        if not points:
            continue
        seq_len, counted = points[-1]
        before = points[-2] if len(points) > 1 and points[-2][1] and counted else None
        true = (seq_len, executed[seq_len])
        findings.append(
            CounterFinding(
                series.label,
                backend,
                seq_len,
                counted,
                executed[seq_len],
                series.kernel.unseen_by_ptflops,
                series.workload.mode == "training",
                before[0] if before else None,
                doubling_exponent(before, points[-1]) if before else 0.0,
                doubling_exponent((before[0], executed[before[0]]), true) if before else 0.0,
            )
        )
    return findings
