"""The length from which one series costs less than another, or more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from attnprof.analysis.cost_functions import (
    QUANTITIES,
    Predicted,
    closed_costs,
    counted_costs,
    has_closed_form,
)
from attnprof.analysis.crossover import (
    RIPPLE,
    Crossover,
    Side,
    search_crossover,
    side_of,
    solve_crossover,
)
from attnprof.analysis.measured_crossover import (
    MeasuredCrossover,
    MeasuredRatio,
    TimedLength,
    find_measured_crossover,
)
from attnprof.analysis.series import Series, of_one_machine
from attnprof.core.growth.empirical import Count
from attnprof.core.growth.polynomial import Cost
from attnprof.core.records import WINDOWED_REFERENCE
from attnprof.core.result_table import Row

Resource = Literal["MACs", "memory", "time"]

_MAX_ALL_PAIRS = 4
"""Up to so many custom series are all compared with each other; of more, only with the first."""

_LONGEST_FACTOR = 4

_LONGEST_SEARCHED = 2**20
"""Crossovers are searched for up to `_LONGEST_FACTOR` times the longest length, at most to here."""

_SETTLED = 0.75
"""The part of the longest length searched by which the side has to settle to count as lasting."""


@dataclass(frozen=True, slots=True)
class CrossoverFinding:
    """Where a series costs less than another, or more.

    Attributes:
        label: the series.
        reference: the series that it is compared with.
        resource: what is compared.
        crossover: the side of the series at the longest length, and the length from which it has
            that side; it keeps it at longer lengths too, as far as costs are known there.
        longest: the longest length that both have.
        ratio: the cost at the longest length divided by the reference's; 0 where a verdict on it is
            withheld.
        measured: what is known at measured lengths; None where the crossover is exact.
        until: the last length that keeps the side, where longer ones have another.
    """

    label: str
    reference: str
    resource: Resource
    crossover: Crossover
    longest: int
    ratio: float
    measured: MeasuredCrossover | None = None
    until: int | None = None


def find_crossovers(series: Sequence[Series]) -> Iterator[CrossoverFinding]:
    """Sparse kernels and custom kernels, each against its references."""
    costs = {member.label: _closed_costs(member) for member in series}
    for member, reference in pairs(series):
        for resource in QUANTITIES:
            cost, beside = (costs[one.label].get(resource) for one in (member, reference))
            if cost is None or beside is None:
                yield from _of_counts(member, reference, resource)
            else:
                yield _of_closed_forms(member, reference, resource, (cost, beside))
        yield from _in_time(member, reference)


def _closed_costs(series: Series) -> dict[Predicted, Cost]:
    """The costs that are known at any length."""
    if series.is_custom:
        return {}
    costs = closed_costs(series)
    return {resource: costs[resource] for resource in costs if has_closed_form(series, resource)}


def pairs(series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """Which series is compared with which; only series of one shape are.

    A sparse kernel is compared with the dense kernels; without any, with `mistral-sdpa` of the same
    pattern; without that, with the custom ones. A
    custom kernel is compared with the dense kernels and with the custom ones after it; where there
    are more than `_MAX_ALL_PAIRS` custom series, only the first is compared with other custom ones.
    """
    custom = [member for member in series if member.is_custom]
    dense = [member for member in series if _is_dense(member)]
    has_all_pairs = len(custom) <= _MAX_ALL_PAIRS
    for member in series:
        references = _of_same_shape(member, dense)
        if member.is_custom:
            position = _position(member, custom)
            later = custom[position + 1 :] if has_all_pairs or position == 0 else []
            references += _of_same_shape(member, later)
        elif member.kernel.pattern_support == "pattern":
            references = references or _of_same_pattern(member, series)
            references = references or _of_same_shape(member, custom)
        else:
            references = []
        yield from ((member, reference) for reference in references)


def _is_dense(series: Series) -> bool:
    return not series.is_custom and series.kernel.pattern_support == "dense"


def _of_same_shape(series: Series, candidates: Sequence[Series]) -> list[Series]:
    """The candidates whose workloads have the dense shape of a series."""
    shape = series.workload.densified()
    return [
        candidate
        for candidate in candidates
        if shape.at(candidate.workload.seq_len) == candidate.workload
    ]


def _of_same_pattern(series: Series, candidates: Sequence[Series]) -> list[Series]:
    """`WINDOWED_REFERENCE` with the pattern of a series of another kernel, if that has a window."""
    if series.workload.is_dense:
        return []
    return [
        candidate
        for candidate in candidates
        if candidate.rows[0].kernel == WINDOWED_REFERENCE
        and series.rows[0].kernel != WINDOWED_REFERENCE
        and series.workload.at(candidate.workload.seq_len) == candidate.workload
    ]


def _position(series: Series, among: Sequence[Series]) -> int:
    return next(index for index, member in enumerate(among) if member is series)


def _of_closed_forms(
    series: Series, reference: Series, resource: Predicted, costs: tuple[Cost, Cost]
) -> CrossoverFinding:
    """Solved from the costs of a series and of its reference."""
    longest = series.workload.seq_len
    step = series.kernel.padding_multiple(series.workload)
    cost, reference_cost = costs
    crossover, until = lasting(cost, reference_cost, longest, step)
    ratio = float(cost(longest) / reference_cost(longest))
    return CrossoverFinding(
        series.label, reference.label, resource, crossover, longest, ratio, until=until
    )


def lasting(
    cost: Cost, reference: Cost, longest: int, step: int = 1, ripple: int = RIPPLE
) -> tuple[Crossover, int | None]:
    """The crossover after which the side of the longest length lasts at longer ones too.

    Just beyond the longest length, padding may bring the two costs together once more.

    Returns:
        The crossover, and, where the side does not last, the last length that keeps it.
    """
    far = max(longest, min(_LONGEST_FACTOR * longest, _LONGEST_SEARCHED))
    side = side_of(cost(longest), reference(longest))
    beyond = solve_crossover(cost, reference, -(-far // step) * step, step, ripple)
    # A side that holds only in the last of many steps may end with the next.
    if beyond.side == side and (beyond.first <= longest or beyond.first <= _SETTLED * far):
        return beyond, None
    within = solve_crossover(cost, reference, longest, step, ripple)
    on_other_side = (
        n
        for n in range(longest + 1, min(far, longest + ripple * step))
        if side_of(cost(n), reference(n)) != side
    )
    return within, next(on_other_side, beyond.before + 1) - 1


def _of_counts(
    series: Series, reference: Series, resource: Predicted
) -> Iterator[CrossoverFinding]:
    """Solved from polynomials and closed forms and confirmed by counts, or else by counts alone."""
    quantity = QUANTITIES[resource]
    costs, reference_costs = (dict(member.points(quantity)) for member in (series, reference))
    lengths = [length for length in costs if reference_costs.get(length)]
    if not lengths:
        return
    longest = lengths[-1]
    sides = _sides(_counts(series, resource), _counts(reference, resource))
    guess, until = _guess(series, reference, resource, longest)
    crossover = search_crossover(sides, lengths, guess)
    yield CrossoverFinding(
        series.label,
        reference.label,
        resource,
        crossover,
        longest,
        costs[longest] / reference_costs[longest],
        until=until if crossover == guess else None,
    )


def _counts(series: Series, resource: Predicted) -> Count:
    if has_closed_form(series, resource):
        return closed_costs(series)[resource]
    costs = counted_costs(series)
    return lambda length: costs.count(resource, length)


def _sides(count: Count, reference_count: Count) -> Callable[[int], Side | None]:
    def side_at(length: int) -> Side | None:
        cost, reference = count(length), reference_count(length)
        return None if cost is None or reference is None else side_of(cost, reference)

    return side_at


def _guess(
    series: Series, reference: Series, resource: Predicted, longest: int
) -> tuple[Crossover | None, int | None]:
    """The crossover of costs that are known at every length; None unless both are."""
    cost, reference_cost = (_exact_cost(member, resource) for member in (series, reference))
    if cost is None or reference_cost is None:
        return None, None
    steps = (_step(member, resource) for member in (series, reference))
    return lasting(cost, reference_cost, longest, ripple=max(RIPPLE, 2 * sum(steps)))


def _exact_cost(series: Series, resource: Predicted) -> Cost | None:
    if has_closed_form(series, resource):
        return closed_costs(series)[resource]
    growth = counted_costs(series).growth(resource)
    return growth.cost if growth and growth.is_known_everywhere else None


def _step(series: Series, resource: Predicted) -> int:
    if has_closed_form(series, resource):
        return series.kernel.padding_multiple(series.workload)
    growth = counted_costs(series).growth(resource)
    return growth.step if growth else 1


def _in_time(series: Series, reference: Series) -> Iterator[CrossoverFinding]:
    """From ratios of paired rounds, not from two medians: drift affects both of a pair alike."""
    lengths = timed_lengths(series, reference)
    if not any(timed.ratio for timed in lengths):
        return
    measured, last = find_measured_crossover(lengths), lengths[-1]
    yield CrossoverFinding(
        series.label,
        reference.label,
        "time",
        measured.crossover,
        last.seq_len,
        last.ratio.median if last.ratio else 0.0,
        measured,
    )


def timed_lengths(series: Series, reference: Series) -> list[TimedLength]:
    """What is known of the times of two series, at each length at which both were timed.

    Only lengths of one machine: the ratios of another may be others.
    """
    references = {row.workload: row for row in reference.rows}
    known = (
        _timed(row, references.get(row.workload.densified()), reference)
        for row in of_one_machine(series.rows)
    )
    return [timed for timed in known if timed is not None]


def _timed(row: Row, beside: Row | None, reference: Series) -> TimedLength | None:
    seq_len, name = row.workload.seq_len, reference.rows[0].kernel
    verdict = row.verdict_against(name)
    if verdict is not None:
        speed = verdict.speed
        # A ratio of times is the inverse of a ratio of speeds, with the ends exchanged.
        ratio = MeasuredRatio(seq_len, 1 / speed.median, 1 / speed.high, 1 / speed.low)
        return TimedLength(seq_len, verdict.outcome, ratio)
    if row.withheld and beside is not None and beside.withheld:
        return TimedLength(seq_len, "withheld")
    return None
