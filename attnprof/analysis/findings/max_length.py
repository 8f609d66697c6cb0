"""The longest sequence of each series that fits in memory, and its predicted time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from attnprof.analysis.cost_functions import counted_costs
from attnprof.analysis.predictions import predict_with, sample_from
from attnprof.analysis.series import Series
from attnprof.analysis.time_model import PredictedTime
from attnprof.core.bisection import search_last
from attnprof.core.machine import Machine
from attnprof.core.workload import Case

MAX_SEARCHED_LENGTH = 2**40
"""Longer sequences, in tokens, are not searched: nobody needs to know whether they fit."""

Needed = Callable[[int], "int | None"]
"""Bytes that a length needs; None where they are not known."""


@dataclass(frozen=True, slots=True)
class MaxLengthFinding:
    """How long a sequence may be.

    Attributes:
        label: the series.
        longest: the longest length that fits, in tokens; 0 where none does.
        available_bytes: the memory that it has to fit in.
        time: the predicted time at that length; None where there is nothing to predict it from.
    """

    label: str
    longest: int
    available_bytes: int
    time: PredictedTime | None = None


def find_max_length(
    series: Series, available_bytes: int, machine: Machine | None = None
) -> MaxLengthFinding | None:
    """The longest length whose parameters, inputs and peak fit; None where that is not known."""
    needed = needed_bytes(series)
    if needed is None:
        return None
    shortest = max(1, *(1 + layer.last_position for layer in series.workload.layers))
    longest = max_length(needed, available_bytes, shortest)
    if longest is None:
        return None
    return MaxLengthFinding(
        series.label,
        longest,
        available_bytes,
        _time(series, longest, machine) if longest else None,
    )


def needed_bytes(series: Series) -> Needed | None:
    """Bytes of parameters, inputs and the peak, by length; None where no peak was counted."""
    return _needed_by_custom(series) if series.is_custom else _needed_by_built_in(series)


def max_length(needed: Needed, available_bytes: int, shortest: int = 1) -> int | None:
    """The longest length that needs at most `available_bytes`, by doubling and bisection.

    Assumes that a longer sequence never needs less memory than a shorter one.

    Args:
        needed: bytes by length.
        available_bytes: the limit.
        shortest: the first length of the search, in tokens.

    Returns:
        0 where not even the shortest length fits; None where `needed` is None on the way, or where
        all lengths up to `MAX_SEARCHED_LENGTH` fit.
    """

    def fits(length: int) -> bool | None:
        bytes_needed = needed(length)
        return None if bytes_needed is None else bytes_needed <= available_bytes

    return search_last(fits, shortest, MAX_SEARCHED_LENGTH)


def _needed_by_built_in(series: Series) -> Needed:
    kernel, workload = series.kernel, series.workload

    def needed(length: int) -> int:
        at_length = workload.at(length)
        return kernel.static_bytes(at_length) + kernel.peak_bytes(at_length)

    return needed


def _needed_by_custom(series: Series) -> Needed | None:
    """The bytes of parameters, inputs and the peak; None where no peak was counted.

    The peak follows its exact polynomial where there is one, else it is counted. Parameters do not
    grow, and inputs grow linearly or not at all, so two lengths determine the sum of both.
    """
    lengths = [length for length, _ in series.points("predicted_peak_bytes")]
    if not lengths:
        return None
    costs = counted_costs(series)
    growth = costs.growth("memory")
    exact = growth if growth is not None and growth.is_known_everywhere else None
    shorter, longer = lengths[0], lengths[-1]
    if shorter == longer:
        shorter = max(1, longer // 2)
    with suppress(Exception):  # user code, which need not run at every length
        least, most = (
            series.kernel.static_bytes(series.workload.at(length)) for length in (shorter, longer)
        )
        slope = (most - least) / max(1, longer - shorter)

        def needed(length: int) -> int | None:
            peak = exact.cost(length) if exact else costs.count("memory", length)
            static = most + slope * (length - longer)
            return None if peak is None else round(static) + int(peak)

        return needed
    return None


def _time(series: Series, longest: int, machine: Machine | None) -> PredictedTime | None:
    kernel = series.kernel
    samples = [
        sample
        for row in series.rows
        if not row.withheld
        and (sample := sample_from(kernel, row.workload, row.values)) is not None
    ]
    case = Case(series.rows[0].kernel, series.workload.at(longest))
    prediction = predict_with(kernel, case, samples, machine)
    return None if prediction is None else prediction.time
