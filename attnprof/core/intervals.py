"""Confidence intervals for the median of a few timings.

The intervals keep their coverage with few samples, with heavy tails, and on a machine that is slow
for many rounds in a row. With 8 samples or more they assume no distribution.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import mean, median, stdev

CONFIDENCE = 0.99
"""Confidence level of all intervals."""

SIGN_TEST_MIN_SAMPLES = 8
"""The fewest samples whose range is an interval at `CONFIDENCE` for the median: 1 - 2^-7 of all
ranges contain it."""

_T_QUANTILES = (127.321, 14.089, 7.453, 5.598, 4.773, 4.317, 4.029)
"""Student's t, two-sided at 99.5 %, for 1 to 7 degrees of freedom. So few timings do not show
whether their logarithms are far from normal, hence half the error probability of `CONFIDENCE`."""

_NORMAL = 2.5758293035489
"""Student's t at `CONFIDENCE`, two-sided, in the limit of many degrees of freedom."""

_MIN_LOG_SPREAD = 0.03
"""Least standard deviation of the logarithms of fewer than 8 timings: if they agree better than
this, it is by luck. On shared machines the ratios of single rounds spread by 0.05 to 0.2."""

_MAX_LOG_HALF_WIDTH = 300.0
"""Largest half-width of an interval of logarithms; its ends still fit into a float."""

MIN_EFFECTIVE_SAMPLES = 4
"""Lower bound of the effective sample size: a short series has too few runs of slow rounds to
estimate how long these are."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with its confidence interval at `CONFIDENCE`, in the unit of the samples."""

    median: float
    low: float
    high: float

    @property
    def relative_width(self) -> float:
        """The interval's width divided by the median."""
        return (self.high - self.low) / self.median


def median_interval(samples: Sequence[float]) -> Interval:
    """The median of samples and its confidence interval.

    With 8 independent samples or more, the ends of the interval are two of the samples, chosen by
    the sign test: each sample is below the true median with probability 1/2. With fewer, it is
    Student's interval of the logarithms. Correlated samples count as fewer independent ones: see
    `effective_sample_size`.

    Args:
        samples: two or more, above 0, in the order in which they were measured.

    Raises:
        ValueError: for one sample, from which no interval follows.
    """
    middle = median(samples)
    ess = effective_sample_size(samples)
    size = len(samples)
    widening = math.sqrt(size / ess) * _t_quantile(ess) / _t_quantile(size)
    rank = (size + 1) / 2 - _sign_test_half_ranks(size) * widening
    if ess >= SIGN_TEST_MIN_SAMPLES and rank >= 1:
        ordered = sorted(samples)
        return Interval(middle, ordered[int(rank) - 1], ordered[-int(rank)])
    low, high = _t_interval(samples, ess)
    return Interval(middle, min(low, middle), max(high, middle))


def paired_ratio(reference: Sequence[int], samples: Sequence[int]) -> Interval:
    """How many times faster `samples` are than `reference`, from rounds that ran both.

    With the arguments exchanged, the ratio and the ends of its interval are the inverses.

    Args:
        reference: times in nanoseconds, above 0, one per round.
        samples: times in nanoseconds, above 0, of the same rounds.

    Raises:
        ValueError: if the two differ in length, or there is only one round.
        ZeroDivisionError: if a time is 0.
    """
    ratios = [slow / fast for slow, fast in zip(reference, samples, strict=True)]
    interval = median_interval(ratios)
    inverse = median([1 / ratio for ratio in ratios])
    return Interval(math.sqrt(interval.median / inverse), interval.low, interval.high)


def effective_sample_size(samples: Sequence[float]) -> float:
    """The number of independent samples that would determine the median equally well.

    A machine may be slow for many rounds in a row, whose samples are then all on one side of the
    median. The number of samples is divided by the sum of the autocorrelations of the sign of
    (sample - median), over all lags while these are positive (Geyer 1992, Practical Markov Chain
    Monte Carlo, section 3.3).
    """
    size = len(samples)
    if size <= SIGN_TEST_MIN_SAMPLES:
        return size
    middle = median(samples)
    above = _bits(sample > middle for sample in samples)
    below = _bits(sample < middle for sample in samples)

    def agreement(lag: int) -> int:
        """Pairs at that lag on the same side of the median, minus pairs on different sides."""
        same = (above & above >> lag).bit_count() + (below & below >> lag).bit_count()
        return same - (above & below >> lag).bit_count() - (below & above >> lag).bit_count()

    variance = max(agreement(0), 1)
    total = -variance
    for lag in range(0, size // 2, 2):
        pair = agreement(lag) + agreement(lag + 1)
        if pair <= 0:
            break
        total += 2 * pair
    return min(size, max(MIN_EFFECTIVE_SAMPLES, size * variance / max(total, variance)))


def _bits(answers: Iterable[bool]) -> int:
    """Booleans as the bits of one integer, so that thousands are compared at once."""
    return int("".join("1" if answer else "0" for answer in answers), 2)


@cache
def _sign_test_half_ranks(size: int) -> float:
    """Ranks from the middle sample to the ends of the interval, for `size` independent samples."""
    # Of 2^size equally likely outcomes, the tails may contain a share of 1 - CONFIDENCE.
    outcomes_in_tail = 2**size * (1 - CONFIDENCE) / 2 if size < 500 else (2**size * 5) // 1000
    rank, binomial, below = 0, 1, 0
    while below + binomial <= outcomes_in_tail:
        below += binomial
        binomial = binomial * (size - rank) // (rank + 1)
        rank += 1
    return (size + 1) / 2 - rank


def _t_quantile(ess: float) -> float:
    """Two-sided Student's t for `ess` independent samples: at 99.5 % up to 8, above at 99 %."""
    freedom = ess - 1
    if freedom <= len(_T_QUANTILES):
        return _T_QUANTILES[int(freedom) - 1]
    z = _NORMAL
    # Cornish-Fisher expansion: within 0.2 % for 8 degrees of freedom or more.
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _t_interval(samples: Sequence[float], ess: float) -> tuple[float, float]:
    """The ends of Student's interval of the logarithms."""
    logs = [math.log(sample) for sample in samples]
    spread = stdev(logs)
    if len(logs) < SIGN_TEST_MIN_SAMPLES:
        spread = max(spread, _MIN_LOG_SPREAD)
    # With two samples the interval may be wider than the range of a float.
    half_width = min(_t_quantile(ess) * spread / math.sqrt(ess), _MAX_LOG_HALF_WIDTH)
    return math.exp(mean(logs) - half_width), math.exp(mean(logs) + half_width)
