"""Predicts times at lengths that were not run from times of the same kernel at lengths that were.

The time of a call is that of its matrix products, of the bytes that it moves, and of what its
operators cost at any length: time = executed MACs / rate + moved bytes / bandwidth + constant. The
rates are fitted to the kernel's own samples: what the kernel reached, not what the device could
reach, since fused attention and plain matrix products differ widely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from attnprof.core.machine import Sample

MODEL_ERROR = 0.16
"""Relative error of the model within the measured lengths; calibrated by
`examples/benchmarks/benchmark_prediction.py`."""

ERROR_PER_DOUBLING = 0.08
"""Added to it with each doubling beyond the longest measured length, or below the shortest."""

MAX_DOUBLINGS = 10
"""No time is predicted beyond so many doublings of the longest length."""

_LENGTH_WEIGHT = 2.0
"""A sample weighs as its length to this power: the longest say most about longer ones, since their
caches and allocations are alike."""

LOWEST_EFFICIENCY = 0.25
"""The least part of a device's rates that a kernel is assumed to reach if it was never timed."""

CROSS_DTYPE_ERROR = 0.4
"""Relative error of a time that assumes the efficiency of the same kernel in another dtype."""

_TERM_SETS = ((0,), (1,), (0, 1), (0, 2), (0, 1, 2))
"""Sets of terms that are fitted, simplest first: 0 is MACs, 1 is bytes, 2 is the constant. The
constant alone is none of them: it says nothing about another length."""

_MOST_SAMPLES = 64
"""Of more samples so many are fitted, evenly chosen by length: each is moved in turn, which takes
the square of their number."""

_ROUNDING = 1e-15

_SINGULAR = 1e-10
"""Pivots up to this are zero: bytes in proportion to MACs cannot be fitted beside them."""


@dataclass(frozen=True, slots=True)
class PredictedTime:
    """A time that was not measured, with the interval that it is expected in; all in ns."""

    time_ns: int
    low_ns: int
    high_ns: int


def predict_time(
    samples: Sequence[Sample], *, seq_len: int, executed_macs: int, moved_bytes: int
) -> PredictedTime | None:
    """The time at another length, from samples of the same kernel.

    The interval combines those of the samples with the error of the model, which grows with each
    doubling beyond the measured lengths.

    Args:
        samples: measured times.
        seq_len: the length to predict, in tokens.
        executed_macs: of the call at that length.
        moved_bytes: of the call at that length.

    Returns:
        None where no sample has a time and work, where nothing fits them, or where the length is
        more than `MAX_DOUBLINGS` doublings away from them.
    """
    usable = [sample for sample in samples if sample.time_ns > 0 and any(_amounts(sample))]
    if not usable or seq_len < 1:
        return None
    doublings = _doublings_outside(usable, seq_len)
    usable = _thinned(usable)
    target = (executed_macs, moved_bytes)
    time_ns = _time(usable, target)
    if time_ns <= 0 or doublings > MAX_DOUBLINGS:
        return None
    model_error = MODEL_ERROR + ERROR_PER_DOUBLING * doublings
    low, high = (
        math.exp(math.hypot(model_error, math.sqrt(square)))
        for square in _squared_log_errors(usable, target, time_ns)
    )
    return PredictedTime(round(time_ns), math.floor(time_ns / low), math.ceil(time_ns * high))


def _thinned(samples: Sequence[Sample]) -> Sequence[Sample]:
    """At most `_MOST_SAMPLES` of the samples, the shortest and the longest among them."""
    if len(samples) <= _MOST_SAMPLES:
        return samples
    ordered = sorted(samples, key=lambda sample: sample.seq_len)
    last = len(ordered) - 1
    return [ordered[index * last // (_MOST_SAMPLES - 1)] for index in range(_MOST_SAMPLES)]


def _squared_log_errors(
    samples: Sequence[Sample], target: tuple[int, int], time_ns: float
) -> tuple[float, float]:
    """How far the samples' intervals move the prediction down and up: sums of squared logarithms.

    Each end of each interval in turn takes the place of its sample's time.
    """
    below, above = 0.0, 0.0
    for index, sample in enumerate(samples):
        for end_ns in (sample.time_low_ns, sample.time_high_ns):
            moved = replace(sample, time_ns=max(1, end_ns))
            changed_ns = _time([*samples[:index], moved, *samples[index + 1 :]], target)
            change = math.log(max(changed_ns, 1e-9) / time_ns)
            below, above = max(0.0, -change) ** 2 + below, max(0.0, change) ** 2 + above
    return below, above


def predict_from_rates(
    *, executed_macs: int, moved_bytes: int, macs_per_s: int, bytes_per_s: int
) -> PredictedTime:
    """The time of a kernel that was never timed, from the rates of the device.

    The interval reaches from the device's full rates to `LOWEST_EFFICIENCY` of them; the time is
    its geometric mean.
    """
    least_ns = roofline_ns(executed_macs, moved_bytes, macs_per_s, bytes_per_s)
    most_ns = least_ns / LOWEST_EFFICIENCY
    return PredictedTime(
        round(math.sqrt(least_ns * most_ns)), math.floor(least_ns), math.ceil(most_ns)
    )


def roofline_ns(executed_macs: int, moved_bytes: int, macs_per_s: int, bytes_per_s: int) -> float:
    """Nanoseconds of the work at the device's rates, MACs and bytes one after the other."""
    return 1e9 * (executed_macs / macs_per_s + moved_bytes / bytes_per_s)


def widen_interval(predicted: PredictedTime, error: float) -> PredictedTime:
    """The same time with an interval that is wider by the factor 1 + `error` on either side."""
    return PredictedTime(
        predicted.time_ns,
        math.floor(predicted.low_ns / (1 + error)),
        math.ceil(predicted.high_ns * (1 + error)),
    )


def _amounts(sample: Sample) -> tuple[int, int]:
    return sample.executed_macs, sample.moved_bytes


def _doublings_outside(samples: Sequence[Sample], seq_len: int) -> float:
    """How many doublings a length is outside the lengths of the samples; 0 between them."""
    longest = max(sample.seq_len for sample in samples)
    shortest = min(sample.seq_len for sample in samples)
    return max(0.0, math.log2(seq_len / longest), math.log2(shortest / seq_len))


def _time(samples: Sequence[Sample], target: tuple[int, int]) -> float:
    """Nanoseconds of (MACs, bytes), by the terms that fit the samples best."""
    per_mac, per_byte, constant = _solved_terms(samples)
    return per_mac * target[0] + per_byte * target[1] + constant


def _solved_terms(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """Nanoseconds per MAC, per byte and per call, none negative: least squares of relative errors.

    Every set of terms is solved and the best one with no negative term wins, which is exact for
    three terms. Written out, as `_least_squares` is, because `attnprof estimate` predicts times
    and must not load numpy.
    """
    longest = max(samples, key=lambda sample: sample.seq_len)
    weights = [(sample.seq_len / longest.seq_len) ** _LENGTH_WEIGHT for sample in samples]
    # In units of the longest sample's amounts, so that the coefficients are of similar size.
    units = [max(1, amount) for amount in (*_amounts(longest), 1)]
    columns = [
        [(*_amounts(sample), 1)[index] / unit / sample.time_ns for sample in samples]
        for index, unit in enumerate(units)
    ]
    best_error, best = math.inf, (0.0, 0.0, 0.0)
    for term_set in _TERM_SETS:
        chosen = [columns[index] for index in term_set]
        solved = _least_squares(chosen, weights)
        if solved is None or min(solved) < 0:
            continue
        error = _squared_error(chosen, solved, weights)
        # A larger set has to be better by more than rounding.
        if error < best_error - _ROUNDING * sum(weights):
            best_error = error
            terms = dict(zip(term_set, solved, strict=True))
            best = (
                terms.get(0, 0.0) / units[0],
                terms.get(1, 0.0) / units[1],
                terms.get(2, 0.0),
            )
    return best


def _squared_error(
    columns: Sequence[Sequence[float]], terms: Sequence[float], weights: Sequence[float]
) -> float:
    """The weighted squares of what the sum of the columns, times their terms, lacks to 1."""
    fitted = [
        sum(term * value for term, value in zip(terms, row, strict=True))
        for row in zip(*columns, strict=True)
    ]
    return sum(w * (1 - value) ** 2 for w, value in zip(weights, fitted, strict=True))


def _least_squares(
    columns: Sequence[Sequence[float]], weights: Sequence[float]
) -> list[float] | None:
    """The coefficients with which the columns sum to 1 in each row, by weighted least squares.

    Solves the normal equations of the normalised columns by Gauss-Jordan elimination; see
    `_solved_terms` for why without numpy.

    Args:
        columns: one for each term, with a value for each sample.
        weights: one for each sample.

    Returns:
        One coefficient for each column; None where the samples do not determine them.
    """
    if len(columns) > len(weights):
        return None
    norms = [math.sqrt(_weighted_dot(column, column, weights)) for column in columns]
    if min(norms) <= 0:
        return None
    scaled = [[x / norm for x in column] for column, norm in zip(columns, norms, strict=True)]
    right_side = [1.0] * len(weights)
    equations = [
        [_weighted_dot(column, other, weights) for other in (*scaled, right_side)]
        for column in scaled
    ]
    solution = _gauss_jordan(equations)
    if solution is None:
        return None
    return [value / norm for value, norm in zip(solution, norms, strict=True)]


def _weighted_dot(x: Sequence[float], y: Sequence[float], weights: Sequence[float]) -> float:
    return sum(w * a * b for w, a, b in zip(weights, x, y, strict=True))


def _gauss_jordan(equations: list[list[float]]) -> list[float] | None:
    """The solution of linear equations, each with its right side last; None if singular.

    No rows are exchanged: the matrix is that of normal equations, which is positive semidefinite.
    `equations` is overwritten.
    """
    for index, pivot in enumerate(equations):
        if pivot[index] <= _SINGULAR:
            return None
        for row in equations:
            if row is not pivot:
                factor = row[index] / pivot[index]
                row[:] = [x - factor * y for x, y in zip(row, pivot, strict=True)]
    return [row[-1] / row[index] for index, row in enumerate(equations)]
