"""Places of labels: no two overlap, none leaves its limits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attnprof.report.charts.labels import Box, free_box, resample, spread_labels, widest_gap
from attnprof.report.charts.names import shown_name

LIMITS = Box(0, 0, 200, 100)


@given(st.lists(st.tuples(st.floats(-50, 150), st.floats(1, 8)), min_size=1, max_size=12))
def test_labels_never_overlap_nor_leave_the_chart(labels: list[tuple[float, float]]) -> None:
    labels.sort()
    sizes = [size for _, size in labels]
    places = spread_labels([height for height, _ in labels], sizes, (0, 100))
    edges = [(p - size / 2, p + size / 2) for p, size in zip(places, sizes, strict=True)]
    for (_, top), (bottom, _) in pairwise(edges):
        assert bottom >= top - 1e-9
    assert edges[0][0] >= -1e-9
    assert edges[-1][1] <= 100 + 1e-9


def test_labels_with_room_stay_where_they_want_to_be() -> None:
    assert spread_labels([10, 50, 90], [5, 5, 5], (0, 100)) == [10, 50, 90]


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(0, 100)), min_size=1, max_size=8))
def test_texts_near_points_never_overlap_nor_leave_the_panel(
    anchors: list[tuple[float, float]],
) -> None:
    taken: list[Box] = []
    for anchor in anchors:
        box = free_box(anchor, (30, 10), LIMITS, taken, [resample([(0, 0), (200, 100)])])
        assert box is not None
        assert not any(box.overlaps(other) for other in taken)
        assert min(box.left, box.bottom, 200 - box.right, 100 - box.top) >= -1e-5
        taken.append(box)


def test_a_text_stays_close_to_its_point_and_off_a_line_through_it() -> None:
    line = resample([(0, 50), (200, 50)])
    box = free_box((100, 50), (30, 10), LIMITS, [], [line])
    assert box is not None
    assert not (box.bottom <= 50 <= box.top)
    assert np.hypot((box.left + box.right) / 2 - 100, (box.bottom + box.top) / 2 - 50) < 40


def test_there_is_no_place_where_everything_is_taken() -> None:
    assert free_box((1, 1), (30, 10), LIMITS, [LIMITS], []) is None


def test_the_widest_gap_is_between_marks_or_at_an_end() -> None:
    assert widest_gap([90.0], (0, 100), 2) == (0, 88)
    assert widest_gap([10.0, 90.0], (0, 100), 2) == (12, 88)
    assert widest_gap([10.0, 20.0], (0, 100), 2) == (22, 100)


def test_long_names_keep_both_ends() -> None:
    name = "a_package.of_somebody.modeling_attention:VeryLongAttentionName"
    assert len(shown_name(name)) == 28
    assert shown_name(name).startswith("a_package")
    assert shown_name(name).endswith("AttentionName")
    assert shown_name("bert-sdpa") == "bert-sdpa"


def test_kernels_of_one_run_keep_different_names() -> None:
    kernels, run = ("bert-sdpa", "longformer-hf", "longformer-banded"), "2026-11-26 15:20"
    names = [shown_name(f"{kernel}, {run}") for kernel in kernels]
    assert all(name.startswith(f"{kernel}, ") for name, kernel in zip(names, kernels, strict=True))
    assert all(name.endswith("15:20") and len(name) <= 28 for name in names)
