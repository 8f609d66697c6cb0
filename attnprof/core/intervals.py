"""The median of a few timings, and how far it can be trusted.

The intervals keep what they promise for few samples, for heavy tails, and for a machine that is
slow for many rounds on end. They assume no distribution from 8 samples on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import mean, median, stdev

CONFIDENCE = 0.99

SIGN_TEST_MIN_SAMPLES = 8
"""Samples whose least and greatest hold the median between them at `CONFIDENCE`: 1 - 2^-7."""

_T_QUANTILES = (127.321, 14.089, 7.453, 5.598, 4.773, 4.317, 4.029)
"""Student's t, two-sided at 99.5 %, for 1 to 7 degrees of freedom. So few timings are not told from
ones whose logarithms are far from normal, so they are given half the chance to be wrong."""

_NORMAL = 2.5758293035489
"""Student's t at `CONFIDENCE`, two-sided, for very many degrees of freedom."""

_LEAST_SPREAD = 0.03
"""Fewer than 8 timings that agree better than this do so by luck: on shared machines the ratios of
single rounds spread by 0.05 to 0.2."""

_WIDEST = 300.0
"""The logarithm of the factor that an interval reaches to each side at most."""

MIN_EFFECTIVE_SAMPLES = 4
"""Samples are worth no fewer independent ones than this: runs of slow rounds in a short series are
too few to say how long they are."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with its interval at `CONFIDENCE`, in the unit of the samples."""

    median: float
    low: float
    high: float

    @property
    def relative_width(self) -> float:
        """The interval's width as a part of the median."""
        return (self.high - self.low) / self.median


def median_interval(samples: Sequence[float]) -> Interval:
    """The median of samples in the order in which they were taken, and where the true one lies.

    From 8 independent samples on the interval reaches from one sample to another: how many lie
    below the true median is a matter of coin tosses (the sign test). Fewer, whose least and
    greatest would not do, have Student's interval on their logarithms. Samples that resemble those
    before them are worth fewer: see `effective_sample_size`.

    Args:
        samples: two or more, above 0.

    Raises:
        ValueError: for one sample, which says nothing of how far it can be trusted.
    """
    middle = median(samples)
    worth = effective_sample_size(samples)
    size = len(samples)
    widened = math.sqrt(size / worth) * _t_quantile(worth) / _t_quantile(size)
    rank = (size + 1) / 2 - _sign_test_half_ranks(size) * widened
    if worth >= SIGN_TEST_MIN_SAMPLES and rank >= 1:
        ordered = sorted(samples)
        return Interval(middle, ordered[int(rank) - 1], ordered[-int(rank)])
    low, high = _t_interval(samples, worth)
    return Interval(middle, min(low, middle), max(high, middle))


def paired_ratio(reference: Sequence[int], samples: Sequence[int]) -> Interval:
    """How many times faster `samples` are than `reference`, from rounds that ran both.

    The other way round the ratio is the inverse, and so are the interval's ends.
    """
    ratios = [slow / fast for slow, fast in zip(reference, samples, strict=True)]
    interval = median_interval(ratios)
    inverse = median([1 / ratio for ratio in ratios])
    return Interval(math.sqrt(interval.median / inverse), interval.low, interval.high)


def effective_sample_size(samples: Sequence[float]) -> float:
    """How many independent samples tell as much of the median as these.

    A machine is slow for many rounds on end, and as many samples then lie on one side of the
    median. Their number is divided by the sum of the correlations between sides at all distances,
    as far as these are positive (Geyer 1992, Practical Markov Chain Monte Carlo, section 3.3).
    """
    size = len(samples)
    if size <= SIGN_TEST_MIN_SAMPLES:
        return size
    middle = median(samples)
    above = _bits(sample > middle for sample in samples)
    below = _bits(sample < middle for sample in samples)

    def agreement(lag: int) -> int:
        """Pairs at a distance that lie on one side, less those that lie on different sides."""
        alike = (above & above >> lag).bit_count() + (below & below >> lag).bit_count()
        return alike - (above & below >> lag).bit_count() - (below & above >> lag).bit_count()

    itself = max(agreement(0), 1)
    total = -itself
    for lag in range(0, size // 2, 2):
        pair = agreement(lag) + agreement(lag + 1)
        if pair <= 0:
            break
        total += 2 * pair
    return min(size, max(MIN_EFFECTIVE_SAMPLES, size * itself / max(total, itself)))


def _bits(answers: Iterable[bool]) -> int:
    """Answers as the bits of a number: thousands are compared at once."""
    return int("".join("1" if answer else "0" for answer in answers), 2)


@cache
def _sign_test_half_ranks(size: int) -> float:
    """Ranks from the middle to the ends of the interval, of `size` independent samples."""
    # The most tosses of which both ends together are left out with less than 1 - CONFIDENCE.
    outside = 2**size * (1 - CONFIDENCE) / 2 if size < 500 else (2**size * 5) // 1000
    rank, ways, below = 0, 1, 0
    while below + ways <= outside:
        below += ways
        ways = ways * (size - rank) // (rank + 1)
        rank += 1
    return (size + 1) / 2 - rank


def _t_quantile(worth: float) -> float:
    """Student's t for so many independent samples, two-sided; at `CONFIDENCE` from 9 on."""
    freedom = worth - 1
    if freedom <= len(_T_QUANTILES):
        return _T_QUANTILES[int(freedom) - 1]
    z = _NORMAL
    # Cornish and Fisher's expansion: within 0.2 % from 8 degrees of freedom on.
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _t_interval(samples: Sequence[float], worth: float) -> tuple[float, float]:
    logs = [math.log(sample) for sample in samples]
    # Of two samples the interval may span more than a float does.
    spread = stdev(logs) if len(logs) >= SIGN_TEST_MIN_SAMPLES else max(stdev(logs), _LEAST_SPREAD)
    reach = min(_t_quantile(worth) * spread / math.sqrt(worth), _WIDEST)
    return math.exp(mean(logs) - reach), math.exp(mean(logs) + reach)
