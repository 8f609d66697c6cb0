"""Time at lengths that were not run, from what the same kernel did at lengths that were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A measured time and what was done in it.

    Attributes:
        seq_len: the length, in tokens.
        executed_macs: MACs that were multiplied.
        moved_bytes: bytes read and written, at the least.
        time_ns: the median.
        time_low_ns: lower end of its 99 % interval.
        time_high_ns: upper end of it.
    """

    seq_len: int
    executed_macs: int
    moved_bytes: int
    time_ns: int
    time_low_ns: int
    time_high_ns: int


@dataclass(frozen=True, slots=True)
class PredictedTime:
    """A time that was not measured, with the interval that it is expected in."""

    time_ns: int
    low_ns: int
    high_ns: int


def predict_time(
    samples: Sequence[Sample], *, seq_len: int, executed_macs: int, moved_bytes: int
) -> PredictedTime | None:
    """The time at another length; None where no sample tells it."""
    raise NotImplementedError
