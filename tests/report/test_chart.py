"""Charts of literal results, and the layout of their labels."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured_tables import measured, times

import attnprof
from attnprof.report.chart import render_png
from attnprof.report.label_layout import farthest_point, resample, spread_labels


def size_of(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])  # type: ignore[return-value]


def test_png_has_a_panel_for_each_quantity_there_is() -> None:
    estimated = size_of(render_png(measured()))
    timed = size_of(render_png(measured(time_ns=times(bert_sdpa=[10, 30, 400]))))
    assert estimated[0] < timed[0]


@pytest.mark.parametrize(
    "options",
    [
        {"len": 512},
        {"len": [512, 513]},
        {"len": "64:65536:x2"},
        {"len": 512, "kernel": "longformer-hf", "dilation": 2},
        {
            "len": "1k:8k:x2",
            "window": [64, 128, 256, 512],
            "kernel": ["bert-sdpa", "longformer-hf"],
        },
    ],
)
def test_png_is_drawn_for_every_kind_of_table(options: dict[str, object]) -> None:
    width, height = size_of(render_png(attnprof.estimate(**options)))  # type: ignore[arg-type]
    assert width > 600
    assert height > 400


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


def test_a_guides_name_goes_to_free_space() -> None:
    line = resample([(0, 0), (100, 0)])
    place = farthest_point(line, [np.array([(20.0, 0.0), (40.0, 0.0)])])
    assert place[0] > 80
