"""From which length on one series costs less than another, or more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from attnprof.analysis.cost_functions import QUANTITIES, Predicted, closed_costs, counted_costs
from attnprof.analysis.crossover import (
    RIPPLE,
    Crossover,
    MeasuredCrossover,
    MeasuredRatio,
    Side,
    interpolate_crossover,
    search_crossover,
    side_of,
    solve_crossover,
)
from attnprof.analysis.series import Series
from attnprof.core.growth.empirical import Count
from attnprof.core.growth.polynomial import Cost
from attnprof.core.records import RATIO

Resource = Literal["MACs", "memory", "time"]

_MANY = 4
"""Series of the user's own, beyond which not each is compared with each."""

_FARTHER = 4

_FARTHEST = 2**20
"""Crossings are sought up to so many times the longest length, but no farther than this."""

_SETTLED = 0.75
"""Of the farthest length: up to there the side has to settle, to be taken to stay."""


@dataclass(frozen=True, slots=True)
class CrossoverFinding:
    """Where a series costs less than another, or more.

    Attributes:
        label: the series.
        reference: the other.
        resource: what is compared.
        crossing: the side that the series is on at the longest length, and from where on; where it
            can be told for longer lengths, the side stays there too.
        longest: the longest length that both have.
        ratio: the cost at the longest length in units of the reference's.
        interval: of a measured ratio; None where it is exact.
        measured: where a measured crossing lies between the lengths; None where it is exact.
        until: the last length at which it keeps the side, where it has another at longer ones.
    """

    label: str
    reference: str
    resource: Resource
    crossover: Crossover
    longest: int
    ratio: float
    interval: tuple[float, float] | None = None
    measured: MeasuredCrossover | None = None
    until: int | None = None


def find_crossovers(series: Sequence[Series]) -> Iterator[CrossoverFinding]:
    """Sparse kernels and the user's own against all that they are to be compared with."""
    built_in = {one.label: closed_costs(one) for one in series if not one.is_own}
    for one, other in pairs(series):
        if one.is_own or other.is_own:
            yield from _of_custom(one, other)
        else:
            yield from _of_closed_forms(one, other, built_in[one.label], built_in[other.label])
        yield from _in_time(one, other)


def pairs(series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """Which series is compared with which.

    A sparse kernel with the dense ones of its shape, and what is the user's own with those and with
    what else is the user's; where there is no dense kernel, sparse ones with the user's own. Of
    many of the user's own only the first is compared with the others.
    """
    own = [one for one in series if one.is_own]
    dense = [one for one in series if not one.is_own and one.kernel.pattern_support == "dense"]
    for one in series:
        size = one.workload.densified().at(1)
        references = [other for other in dense if other.workload.at(1) == size]
        mine = [other for other in own if other.workload.at(1) == size]
        if one.is_own:
            place = next(index for index, other in enumerate(own) if other is one)
            is_compared = place == 0 or len(own) <= _MANY
            later = [other for other in own[place + 1 :] if other in mine] if is_compared else []
            yield from ((one, other) for other in [*references, *later])
        elif one.kernel.pattern_support == "pattern":
            yield from ((one, other) for other in references or mine)


def _of_closed_forms(
    one: Series,
    other: Series,
    costs: Mapping[Predicted, Cost],
    references: Mapping[Predicted, Cost],
) -> Iterator[CrossoverFinding]:
    longest = one.workload.seq_len
    step = one.kernel.padding_multiple(one.workload)
    for resource, cost in costs.items():
        reference = references[resource]
        crossing, until = lasting(cost, reference, longest, step)
        ratio = float(cost(longest) / reference(longest))
        yield CrossoverFinding(
            one.label, other.label, resource, crossing, longest, ratio, until=until
        )


def lasting(
    cost: Cost, reference: Cost, longest: int, step: int = 1, ripple: int = RIPPLE
) -> tuple[Crossover, int | None]:
    """From where on the side of the longest length stays at longer ones too.

    Padding may bring the two together once more just behind the longest length. Where the side does
    not stay, also the last length that has it from the longest on.
    """
    far = max(longest, min(_FARTHER * longest, _FARTHEST))
    side = side_of(cost(longest), reference(longest))
    beyond = solve_crossover(cost, reference, -(-far // step) * step, step, ripple)
    # What holds in the last of many steps alone may end with the next.
    if beyond.side == side and (beyond.first <= longest or beyond.first <= _SETTLED * far):
        return beyond, None
    within = solve_crossover(cost, reference, longest, step, ripple)
    others = (
        n
        for n in range(longest + 1, min(far, longest + ripple * step))
        if side_of(cost(n), reference(n)) != side
    )
    return within, next(others, beyond.before + 1) - 1


def _of_custom(one: Series, other: Series) -> Iterator[CrossoverFinding]:
    """Solved from polynomials and closed forms and confirmed by counts, or else by counts alone."""
    for resource, quantity in QUANTITIES.items():
        costs, references = (dict(series.points(quantity)) for series in (one, other))
        lengths = [length for length in costs if references.get(length)]
        if not lengths:
            continue
        longest = lengths[-1]
        sides = _sides(_counts(one, resource), _counts(other, resource))
        guess, until = _guess(one, other, resource, longest)
        crossing = search_crossover(sides, lengths, guess)
        until = until if crossing == guess else None
        ratio = costs[longest] / references[longest]
        yield CrossoverFinding(
            one.label, other.label, resource, crossing, longest, ratio, until=until
        )


def _counts(series: Series, resource: Predicted) -> Count:
    if not series.is_own:
        return closed_costs(series)[resource]
    costs = counted_costs(series)
    return lambda length: costs.count(resource, length)


def _sides(cost: Count, reference: Count) -> Callable[[int], Side | None]:
    def at(length: int) -> Side | None:
        one, other = cost(length), reference(length)
        return None if one is None or other is None else side_of(one, other)

    return at


def _guess(
    one: Series, other: Series, resource: Predicted, longest: int
) -> tuple[Crossover | None, int | None]:
    """The crossing of what is known at every length; None where that is not so of both."""
    cost, reference = (_exact_cost(series, resource) for series in (one, other))
    if cost is None or reference is None:
        return None, None
    steps = (_step(series, resource) for series in (one, other))
    return lasting(cost, reference, longest, ripple=max(RIPPLE, 2 * sum(steps)))


def _exact_cost(series: Series, resource: Predicted) -> Cost | None:
    if not series.is_own:
        return closed_costs(series)[resource]
    told = counted_costs(series).growth(resource)
    return told.cost if told and told.is_known_everywhere else None


def _step(series: Series, resource: Predicted) -> int:
    if not series.is_own:
        return series.kernel.padding_multiple(series.workload)
    told = counted_costs(series).growth(resource)
    return told.step if told else 1


def _in_time(one: Series, other: Series) -> Iterator[CrossoverFinding]:
    """From ratios of paired rounds, not from two medians: drift hits both of a pair alike."""
    name = other.rows[0].kernel
    ratios = [
        MeasuredRatio(
            row.workload.seq_len,
            *(float(row.values[f"{RATIO}{end}:{name}"]) for end in ("", "_low", "_high")),
        )
        for row in one.rows
        if f"{RATIO}:{name}" in row.values
    ]
    if not ratios:
        return
    measured, last = interpolate_crossover(ratios), ratios[-1]
    yield CrossoverFinding(
        one.label,
        other.label,
        "time",
        measured.crossing,
        last.seq_len,
        last.median,
        (last.low, last.high),
        measured,
    )
