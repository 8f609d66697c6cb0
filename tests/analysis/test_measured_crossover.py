"""Crossovers of measured times: against known lines, and against what the verdicts allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnprof.analysis.crossover import Crossover
from attnprof.analysis.measured_crossover import (
    MeasuredRatio,
    TimedLength,
    find_measured_crossover,
)
from attnprof.core.intervals import Interval
from attnprof.core.verdict import verdict
from attnprof.report.crossover_summary import format_between

LENGTHS = (512, 1024, 2048, 4096)


def timed(seq_len: int, median: float, width: float = 1.001) -> TimedLength:
    """A length with a ratio of times, and the verdict that follows from its interval."""
    ratio = MeasuredRatio(seq_len, median, median / width, median * width)
    speed = Interval(1 / ratio.median, 1 / ratio.high, 1 / ratio.low)
    return TimedLength(seq_len, verdict(speed).outcome, ratio)


@given(
    at=st.floats(600, 900),
    power=st.floats(0.5, 2) | st.floats(-2, -0.5),
    width=st.floats(1.0001, 1.02),
)
def test_a_crossover_between_two_decided_lengths_is_where_the_line_is(
    at: float, power: float, width: float
) -> None:
    lengths = [timed(n, (at / n) ** power, width) for n in (512, 1024)]
    measured = find_measured_crossover(lengths)
    assert measured.crossover == Crossover("less" if power > 0 else "more", 512, 1024)
    assert measured.length == pytest.approx(at)
    # The lines through the ends of the intervals are 1 where the length is a factor off.
    factor = width ** (1 / abs(power))
    assert measured.low == pytest.approx(at / factor)
    assert measured.high == pytest.approx(at * factor)


@pytest.mark.parametrize(
    ("ratios", "expected", "is_interpolated"),
    [
        ([1.9, 1.9, 1.9], Crossover("more", 0, 10), False),
        ([0.1, 0.1, 1.9], Crossover("more", 20, 40), True),
        ([1.9, 0.1, 0.1], Crossover("less", 10, 20), True),
        ([0.1, 1.9, 0.1], Crossover("less", 20, 40), True),
        ([0.1, 0.1, 0.1], Crossover("less", 0, 10), False),
        ([1.0, 1.0, 1.0], Crossover("equal", 0, 40), False),
        ([1.9, 0.1, 1.0], Crossover("equal", 0, 40), False),
        ([1.9, 1.0, 0.1], Crossover("less", 10, 40), False),
        ([1.0, 0.1, 0.1], Crossover("less", 0, 20), False),
        ([1.9, None, 0.1], Crossover("less", 10, 40), False),
        ([None, None, 0.1], Crossover("less", 0, 40), False),
        ([1.9, 0.1, None], Crossover("equal", 0, 40), False),
    ],
)
def test_a_crossover_is_only_claimed_between_decided_lengths(
    ratios: list[float | None], expected: Crossover, is_interpolated: bool
) -> None:
    lengths = [
        TimedLength(n, "withheld") if ratio is None else timed(n, ratio)
        for n, ratio in zip((10, 20, 40), ratios, strict=True)
    ]
    measured = find_measured_crossover(lengths)
    assert measured.crossover == expected
    assert (measured.length is not None) == is_interpolated


known = st.none() | st.tuples(st.floats(0.05, 20), st.floats(1.0001, 3))


@given(st.lists(known, min_size=len(LENGTHS), max_size=len(LENGTHS)))
def test_no_claim_contradicts_the_verdict_at_a_length(
    ratios: list[tuple[float, float] | None],
) -> None:
    lengths = [
        TimedLength(n, "withheld") if ratio is None else timed(n, *ratio)
        for n, ratio in zip(LENGTHS, ratios, strict=True)
    ]
    measured = find_measured_crossover(lengths)
    crossover = measured.crossover
    outcome_at = {one.seq_len: one.outcome for one in lengths}
    outcome = {"less": "faster", "more": "slower"}.get(crossover.side)
    if outcome is None:
        assert outcome_at[LENGTHS[-1]] in ("undecided", "withheld")
        return
    assert all(outcome_at[n] == outcome for n in LENGTHS if n >= crossover.first)
    between = [n for n in LENGTHS if crossover.before < n < crossover.first]
    assert all(outcome_at[n] in (outcome, "undecided", "withheld") for n in between)
    if crossover.before:
        assert outcome_at[crossover.before] not in (outcome, "undecided", "withheld")
    else:
        assert {"faster", "slower"} & set(outcome_at.values()) == {outcome}
    assert measured.is_same_everywhere == (set(outcome_at.values()) == {outcome})
    assert (measured.length is not None) == bool(crossover.before and not between)
    if measured.length is not None:
        low, about, high = (int(text.replace(",", "")) for text in format_between(measured))
        assert crossover.before < low <= about <= high <= crossover.first
