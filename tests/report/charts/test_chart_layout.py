"""Every text of every picture: inside it, off all others, at least two numbers on an axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest
from chart_tables import KERNELS, chart_table, with_gaps, with_ratios
from matplotlib.figure import Figure
from matplotlib.text import Text

import attnprof
from attnprof import ResultTable
from attnprof.report.charts.canvas import settings
from attnprof.report.charts.pictures import figure_of
from attnprof.report.image_forms import CHARTS, Chart
from attnprof.report.run import Run

LENGTHS = (
    (512,),
    (512, 513),
    (1, 10_000_000),
    (500, 777, 1000, 1_000_000),
    (512, 1024, 4096),
    tuple(2**k for k in range(4, 21)),
    tuple(256 * k for k in range(1, 31)),
    tuple(range(1000, 1030)),
)

_TOUCH = 1.5
"""Pixels by which rectangles around letters may overlap without the letters touching."""


def name_of(lengths: Sequence[int]) -> str:
    return f"{len(lengths)}_up_to_{lengths[-1]}"


def texts_of(figure: Figure) -> list[Text]:
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    return [text for text in shown if text.get_window_extent().width > 0]


def check_layout(runs: Sequence[Run], chart: Chart = "growth") -> None:
    with settings("test"):
        figure = figure_of(runs, chart)
        figure.canvas.draw()
        # An annotation's own extent includes its arrow.
        boxes = [(text.get_text(), Text.get_window_extent(text)) for text in texts_of(figure)]
        width, height = figure.canvas.get_width_height()
        for name, box in boxes:
            inside = min(box.x0, box.y0, width - box.x1, height - box.y1)
            assert inside >= 0, f"{name!r} leaves the picture"
        for (name, box), (other_name, other) in combinations(boxes, 2):
            x = min(box.x1, other.x1) - max(box.x0, other.x0)
            y = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert min(x, y) < _TOUCH, f"{name!r} is on {other_name!r}"
        for axes in figure.axes:
            has_bars = axes.yaxis.get_tick_params().get("length") == 0
            for axis in (axes.xaxis, axes.yaxis)[: 1 if has_bars else 2]:
                names = [label.get_text() for label in axis.get_ticklabels() if label.get_text()]
                assert len(names) == len(set(names)) >= 2
            assert 1.2 * figure.dpi <= axes.get_window_extent().width


@pytest.mark.parametrize(
    ("lengths", "count"),
    [
        *((lengths, len(KERNELS)) for lengths in LENGTHS),
        *((lengths, (1, 3)[index % 2]) for index, lengths in enumerate(LENGTHS)),
    ],
    ids=lambda value: value if isinstance(value, int) else name_of(value),
)
def test_texts_of_the_growth_chart(lengths: tuple[int, ...], count: int) -> None:
    check_layout([Run("", chart_table(KERNELS[:count], lengths))])


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize(
    "lengths", LENGTHS[::2], ids=lambda lengths: f"{len(lengths)}_{lengths[-1]}"
)
def test_texts_of_the_breakdown_chart(lengths: tuple[int, ...], count: int) -> None:
    check_layout([Run("", chart_table(KERNELS[:count], lengths))], "breakdown")


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("lengths", LENGTHS[::2], ids=name_of)
def test_texts_of_the_roofline_chart(lengths: tuple[int, ...], count: int) -> None:
    check_layout([Run("", chart_table(KERNELS[:count], lengths))], "roofline")


@pytest.mark.parametrize(
    "table",
    [
        with_gaps(),
        with_ratios({512: 1.5, 1024: 1.1, 4096: 0.5}),
        chart_table(KERNELS[6:], (512, 4096)),
        ResultTable(),
    ],
    ids=["gaps", "ratios", "custom", "empty"],
)
@pytest.mark.parametrize("chart", CHARTS)
def test_texts_of_unusual_tables(table: ResultTable, chart: Chart) -> None:
    check_layout([Run("", table)], chart)


def test_texts_of_several_runs() -> None:
    lengths = (512, 1024, 4096)
    names = ("laptop, 2026-01-01", "server")
    for chart in ("growth", "roofline"):
        check_layout([Run(name, chart_table(KERNELS[:4], lengths)) for name in names], chart)
    check_layout([Run(name, chart_table(KERNELS[:4], lengths[:1])) for name in names])


@pytest.mark.parametrize(
    "options",
    [
        {"len": "1k:8k:x2", "window": [64, 128, 256, 512]},
        {"len": 4096, "window": [64, 128, 256, 512]},
        {"len": 4096, "dilation": [1, 2, 4], "kernel": ["bert-sdpa", "longformer-banded"]},
        {"len": 4096, "window": ["64:128", "128:256"], "kernel": "longformer-banded"},
        {"len": [512, 4096], "dilation": "1x10:4x2"},
        {"len": [512, 4096], "scope": "layer"},
        {"len": 512, "kernel": "longformer-hf", "dilation": 2},
    ],
)
@pytest.mark.parametrize("chart", ["growth", "breakdown"])
def test_texts_of_estimates(options: dict[str, object], chart: Chart) -> None:
    check_layout([Run("", attnprof.estimate(**options))], chart)  # type: ignore[arg-type]


@pytest.mark.parametrize("scope", ["attention", "layer"])
def test_the_length_at_which_scores_take_over_stands_on_the_scores(scope: str) -> None:
    lengths = [501, 1102, 4096, 16384]
    table = attnprof.estimate(kernel="bert-sdpa", len=lengths, scope=scope)
    with settings("test"):
        figure = figure_of([Run("", table)], "breakdown")
        figure.canvas.draw()
        (axes,) = figure.axes
        (text,) = (one for one in axes.texts if one.get_fontweight() == "bold")
        box = Text.get_window_extent(text).transformed(axes.transData.inverted())
        scores = axes.collections[-1]
        for corner in ((box.x0, box.y0), (box.x1, box.y0), (box.x0, box.y1), (box.x1, box.y1)):
            assert scores.get_paths()[0].contains_point(corner)


def test_what_a_band_means_is_said() -> None:
    names = (
        (chart_table(KERNELS[:2], (512, 1024)), "99 % interval"),
        (with_gaps(), "99 % interval or expected range"),
    )
    for table, name in names:
        with settings("test"):
            figure = figure_of([Run("", table)], "growth")
            assert name in [text.get_text() for text in figure.legends[0].get_texts()]


def test_kernels_without_a_polynomial_say_how_they_grow_too() -> None:
    table = attnprof.estimate(kernel="longformer-banded", len=[500, 801, 1102])
    with settings("test"):
        texts = texts_of(figure_of([Run("", table)], "breakdown"))
        assert "grows as n" in [text.get_text() for text in texts]
