"""The median of a few timings, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.99
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with its bootstrap interval at `CONFIDENCE`, in the unit of the samples."""

    median: float
    low: float
    high: float

    @property
    def relative_width(self) -> float:
        """The interval's width as a part of the median."""
        return (self.high - self.low) / self.median


def median_interval(samples: Sequence[float]) -> Interval:
    """The median of samples and the interval that resampled medians fall into.

    The resampling is seeded: the same samples give the same interval.
    """
    values = np.asarray(samples, dtype=np.float64)
    picks = np.random.default_rng(0).integers(0, len(values), size=(RESAMPLES, len(values)))
    medians = np.median(values[picks], axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    return Interval(float(np.median(values)), float(low), float(high))


def paired_ratio(reference: Sequence[int], samples: Sequence[int]) -> Interval:
    """How many times faster `samples` are than `reference`, from rounds that ran both."""
    return median_interval([slow / fast for slow, fast in zip(reference, samples, strict=True)])
