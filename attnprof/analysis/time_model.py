"""Time at lengths that were not run, from what the same kernel did at lengths that were.

A call takes what its products take, what its bytes take, and what its operators take whatever the
length: time = executed MACs / rate + moved bytes / bandwidth + a constant. The rates are the
kernel's own, fitted to its samples. They are what it reached, not what the device could: fused
attention and plain products differ by far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from attnprof.core.machine import Sample

MODEL_ERROR = 0.16
"""How far the model may be off within the measured lengths, as a part of the time; calibrated by
`examples/benchmarks/benchmark_prediction.py`."""

ERROR_PER_DOUBLING = 0.08
"""What is added to it with each doubling beyond the longest length, or below the shortest."""

MAX_DOUBLINGS = 10
"""Beyond so many doublings of the longest length nothing is said."""

_LENGTH_WEIGHT = 2.0
"""A sample weighs as its length to this power: the longest tell most of what is beyond them, where
caches and allocations are as they will be."""

LOWEST_EFFICIENCY = 0.25
"""The least part of a device's rates that a kernel is taken to reach, where it was never timed."""

CROSS_DTYPE_ERROR = 0.4
"""How far a time may be off whose efficiency is that of the same kernel in another dtype."""

_SETS = ((0,), (1,), (0, 1), (0, 2), (0, 1, 2))
"""Which of MACs, bytes and the constant may tell the time together, simplest first; what does not
grow with either says nothing of another length."""

_ROUNDING = 1e-15

_SINGULAR = 1e-10
"""Columns nearer to each other than this are one: bytes in proportion to MACs tell nothing more."""


@dataclass(frozen=True, slots=True)
class PredictedTime:
    """A time that was not measured, with the interval that it is expected in."""

    time_ns: int
    low_ns: int
    high_ns: int


def predict_time(
    samples: Sequence[Sample], *, seq_len: int, executed_macs: int, moved_bytes: int
) -> PredictedTime | None:
    """The time at another length; None where no sample tells it.

    The interval has the samples' own and what the model may be off, which grows with each doubling
    beyond the lengths that were measured.
    """
    told = [sample for sample in samples if sample.time_ns > 0 and any(_amounts(sample))]
    if not told or seq_len < 1:
        return None
    doublings = _doublings_outside(told, seq_len)
    target = (executed_macs, moved_bytes)
    point = _time(told, target)
    if point <= 0 or doublings > MAX_DOUBLINGS:
        return None
    # What a sample's interval makes uncertain: what its ends would change, one sample at a time.
    below, above = 0.0, 0.0
    for index, sample in enumerate(told):
        for end_ns in (sample.time_low_ns, sample.time_high_ns):
            moved = [*told[:index], replace(sample, time_ns=max(1, end_ns)), *told[index + 1 :]]
            change = math.log(max(_time(moved, target), 1e-9) / point)
            below, above = max(0.0, -change) ** 2 + below, max(0.0, change) ** 2 + above
    model = MODEL_ERROR + ERROR_PER_DOUBLING * doublings
    low, high = (math.exp(math.hypot(model, math.sqrt(square))) for square in (below, above))
    return PredictedTime(round(point), math.floor(point / low), math.ceil(point * high))


def predict_from_rates(
    *, executed_macs: int, moved_bytes: int, macs_per_s: int, bytes_per_s: int
) -> PredictedTime:
    """The time of a kernel that was never timed, from what the device can do.

    Between all of the device's rates and `LOWEST_EFFICIENCY` of them: an interval as wide as what
    is known, around its geometric mean.
    """
    least_ns = roofline_ns(executed_macs, moved_bytes, macs_per_s, bytes_per_s)
    most_ns = least_ns / LOWEST_EFFICIENCY
    return PredictedTime(
        round(math.sqrt(least_ns * most_ns)), math.floor(least_ns), math.ceil(most_ns)
    )


def roofline_ns(executed_macs: int, moved_bytes: int, macs_per_s: int, bytes_per_s: int) -> float:
    """What the work takes at the device's own rates, products and bytes one after the other."""
    return 1e9 * (executed_macs / macs_per_s + moved_bytes / bytes_per_s)


def widen_interval(predicted: PredictedTime, error: float) -> PredictedTime:
    """The same time, with an interval that is wider by this part of the time on either side."""
    return PredictedTime(
        predicted.time_ns,
        math.floor(predicted.low_ns / (1 + error)),
        math.ceil(predicted.high_ns * (1 + error)),
    )


def _amounts(sample: Sample) -> tuple[int, int]:
    return sample.executed_macs, sample.moved_bytes


def _doublings_outside(samples: Sequence[Sample], seq_len: int) -> float:
    """How many doublings a length is away from the lengths of the samples; 0 among them."""
    longest = max(sample.seq_len for sample in samples)
    shortest = min(sample.seq_len for sample in samples)
    return max(0.0, math.log2(seq_len / longest), math.log2(shortest / seq_len))


def _time(samples: Sequence[Sample], target: tuple[int, int]) -> float:
    """Nanoseconds of these MACs and bytes, by the terms that fit the samples best."""
    of_mac, of_byte, constant = _solved_terms(samples)
    return of_mac * target[0] + of_byte * target[1] + constant


def _solved_terms(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """Nanoseconds of a MAC, of a byte and of a call: least squares of relative errors.

    None is negative. With three of them the best is found by trying each set.
    """
    longest = max(samples, key=lambda sample: sample.seq_len)
    weights = [(one.seq_len / longest.seq_len) ** _LENGTH_WEIGHT for one in samples]
    # In units of the longest sample's amounts, so that the numbers are near each other.
    units = [max(1, amount) for amount in (*_amounts(longest), 1)]
    columns = [
        [(*_amounts(one), 1)[index] / unit / one.time_ns for one in samples]
        for index, unit in enumerate(units)
    ]
    best_error, best = math.inf, (0.0, 0.0, 0.0)
    for chosen in _SETS:
        solved = _least_squares([columns[index] for index in chosen], weights)
        if solved is None or min(solved) < 0:
            continue
        terms = dict(zip(chosen, solved, strict=True))
        fitted = [sum(terms[i] * columns[i][row] for i in chosen) for row in range(len(samples))]
        error = sum(w * (1 - one) ** 2 for w, one in zip(weights, fitted, strict=True))
        # A larger set has to be better by more than rounding is.
        if error < best_error - _ROUNDING * sum(weights):
            best_error = error
            of_mac, of_byte, constant = (terms.get(index, 0.0) for index in range(3))
            best = (of_mac / units[0], of_byte / units[1], constant)
    return best


def _least_squares(
    columns: Sequence[Sequence[float]], weights: Sequence[float]
) -> list[float] | None:
    """The coefficients of the columns whose sum is nearest to 1; None where they are not told."""
    if len(columns) > len(weights):
        return None

    def product(one: Sequence[float], other: Sequence[float]) -> float:
        return sum(w * x * y for w, x, y in zip(weights, one, other, strict=True))

    lengths = [math.sqrt(product(column, column)) for column in columns]
    if min(lengths) <= 0:
        return None
    scaled = [[x / size for x in column] for column, size in zip(columns, lengths, strict=True)]
    ones = [1.0] * len(weights)
    rows = [[product(one, other) for other in (*scaled, ones)] for one in scaled]
    for index, pivot in enumerate(rows):
        if pivot[index] <= _SINGULAR:
            return None
        for other in (row for row in rows if row is not pivot):
            factor = other[index] / pivot[index]
            other[:] = [x - factor * y for x, y in zip(other, pivot, strict=True)]
    return [
        row[-1] / row[i] / size for i, (row, size) in enumerate(zip(rows, lengths, strict=True))
    ]
