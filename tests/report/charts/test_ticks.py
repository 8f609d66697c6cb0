"""Which values axes label: round, distinct, at least two, none of them overlapping."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnprof.report.charts.ticks import (
    LEAST_RANGE,
    Scale,
    linear_ticks,
    log_ticks,
    spaced,
    tick_label,
)

scales = st.sampled_from(["macs", "bytes", "ns"])


@given(
    st.lists(st.floats(0, 100), min_size=2, max_size=30, unique=True),
    st.floats(0.1, 8),
)
def test_labels_of_an_axis_keep_their_distance_and_show_both_ends(
    positions: list[float], width: float
) -> None:
    positions = [-10.0, *sorted(positions), 110.0]
    shown = spaced(positions, [width] * len(positions), gap=1)
    assert shown[0] == 0
    assert shown[-1] == len(positions) - 1
    for earlier, later in pairwise(shown):
        assert positions[later] - positions[earlier] >= width + 1 - 1e-9


def test_all_labels_that_have_room_are_shown() -> None:
    assert spaced([0, 10, 20, 30], [4, 4, 4, 4], gap=1) == [0, 1, 2, 3]
    assert spaced([5], [4], gap=1) == [0]


@given(st.floats(1e1, 1e15), st.floats(LEAST_RANGE, 1e12), scales, st.integers(2, 12))
def test_a_logarithmic_axis_has_two_round_distinct_ticks_or_more(
    low: float, extent: float, scale: Scale, most: int
) -> None:
    ticks = log_ticks(low, low * extent, scale, most)
    assert 2 <= len(ticks) <= max(most, 3)
    assert all(low <= tick <= low * extent for tick in ticks)
    names = [tick_label(tick, scale) for tick in ticks]
    assert len(set(names)) == len(names)


@given(st.floats(1e1, 1e15), scales)
def test_a_linear_axis_begins_at_0_and_has_two_ticks_or_more(high: float, scale: Scale) -> None:
    ticks = linear_ticks(high, scale, most=4)
    assert ticks[0] == 0
    assert 2 <= len(ticks) <= 5
    assert ticks[-1] <= high * (1 + 1e-9)
    names = [tick_label(tick, scale) for tick in ticks]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (0, "ns", "0"),
        (500_000_000, "macs", "500 M"),
        (2**26, "bytes", "64 MiB"),
        (20_000_000, "ns", "20 ms"),
        (10**12, "ns", "1,000 s"),
        (2 * 10**14, "ns", "2·10⁵ s"),
        (10**13, "ns", "10⁴ s"),
        (1, "macs", "1"),
    ],
)
def test_a_tick_is_a_number_in_its_unit(value: int, scale: Scale, text: str) -> None:
    assert tick_label(value, scale) == text
