"""Pictures of patterns, decoded back into the pairs that they show."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from attnprof import AttentionPattern, AttentionStack, Workload
from attnprof.core.errors import UsageError
from attnprof.report.pattern import render_pattern_svg
from attnprof.report.pattern.cells import cells_of, tokens_of_cell
from attnprof.report.pattern.drawing import INK, Boxes, Drawing
from attnprof.report.pattern.figure import to_image
from attnprof.report.pattern.layout import draw
from attnprof.report.pattern.panel_shapes import DARKEST, Square, panel_shapes
from attnprof.report.pattern.panels import Panel, panels_of, parts_of
from attnprof.report.pattern.svg import to_svg
from attnprof.report.pattern.terminal import panel_lines, render_terminal

HEADS = 4
SVG = "{http://www.w3.org/2000/svg}"

PER_HEAD = Workload(AttentionPattern.sliding(8, (1, 1, 3, 1), (5,), HEADS), 61, HEADS * 8)
LARGE = Workload(AttentionPattern.sliding(128, 1, (0,), HEADS), 500, HEADS * 8)
SPARSE_KERNELS = ("longformer-banded", "longformer-flex", "longformer-hf", "longformer-masked")


def sliding(window: int, dilation: int = 1, positions: Sequence[int] = ()) -> AttentionPattern:
    return AttentionPattern.sliding(window, dilation, positions, HEADS)


@st.composite
def workloads(draw: st.DrawFn, longest: int) -> Workload:
    seq_len = draw(st.integers(1, longest))
    return Workload(
        sliding(
            2 * draw(st.integers(1, 20)),
            draw(st.integers(1, 9)),
            draw(st.lists(st.integers(0, seq_len - 1), max_size=3)),
        ),
        seq_len,
        HEADS * 8,
    )


@given(workloads(longest=64))
def test_half_blocks_decode_to_the_mask(workload: Workload) -> None:
    (panel,) = panels_of([workload])
    rows: list[list[bool]] = []
    for line in panel_lines(panel, 1):
        characters = line.plain.ljust(workload.seq_len)
        rows += [
            [character in "█▀" for character in characters],
            [character in "█▄" for character in characters],
        ]
    mask = workload.layers[0].mask(workload.seq_len)[0]
    assert np.array_equal(np.array(rows)[: workload.seq_len], mask)
    assert not any(any(row) for row in rows[workload.seq_len :])


@given(workloads(longest=200), st.sampled_from([1, 2, 8, 32]))
def test_characters_show_the_share_of_attended_and_what_else_is_computed(
    workload: Workload, tokens: int
) -> None:
    (panel,) = panels_of([workload], ["longformer-banded"])
    mask = workload.layers[0].mask(workload.seq_len)[0]
    computed = np.zeros_like(mask)
    for queries, keys in (block for run in panel.runs for block in run.blocks()):
        computed[np.ix_(queries, keys)] = True
    for row, line in enumerate(panel_lines(panel, tokens)):
        queries = slice(2 * tokens * row, 2 * tokens * (row + 1))
        for column, character in enumerate(line.plain):
            keys = slice(tokens * column, tokens * (column + 1))
            share = mask[queries, keys].mean()
            expected = "█" if share == 1 else "▓" if share >= 0.5 else "▒" if share > 0 else None
            assert character == (expected or ("░" if computed[queries, keys].any() else " "))


@given(workloads(longest=150), st.sampled_from(SPARSE_KERNELS), st.sampled_from([1, 4, 64]))
@settings(max_examples=60)
def test_cells_add_up_to_the_pairs(workload: Workload, kernel: str, tokens: int) -> None:
    (panel,) = panels_of([workload], [kernel])
    cells = cells_of(panel, 2 * tokens, tokens)
    sizes = np.outer(np.diff(cells.query_edges), np.diff(cells.key_edges))
    own = AttentionPattern.sliding(
        panel.layer.window or 0, panel.layer.dilation[0], panel.layer.global_positions, 1
    )
    useful = own.pairs(workload.seq_len)
    assert round(float((cells.attended * sizes).sum())) == useful == panel.useful_pairs
    if panel.computed:
        inside = round(float((cells.computed * sizes).sum()))
        assert useful <= inside <= panel.executed_pairs
        assert (cells.computed >= cells.attended - 1e-12).all()


def test_a_cell_is_the_smallest_power_of_two_that_fits() -> None:
    assert [tokens_of_cell(n, 64) for n in (1, 64, 65, 4096, 4097)] == [1, 1, 2, 64, 128]


@given(workloads(longest=60))
@settings(max_examples=60)
def test_dark_rectangles_are_the_mask(workload: Workload) -> None:
    (panel,) = panels_of([workload])
    n = workload.seq_len
    square = Square(left=0, top=0, side=10.0 * n, first=0, last=n)
    drawn = np.zeros((n, n), dtype=int)
    for shape in panel_shapes(panel, square, INK):
        if shape.fill == INK:
            assert shape.opacity == DARKEST
            for left, top, width, height in shape.boxes:
                x, y, w, h = (round(value / 10) for value in (left, top, width, height))
                drawn[y : y + h, x : x + w] += 1
    assert np.array_equal(drawn, workload.layers[0].mask(n)[0].astype(int))


def test_outlines_are_the_blocks_of_the_kernel() -> None:
    (panel,) = panels_of([LARGE], ["longformer-hf"])
    square = Square(left=0, top=0, side=640.0, first=-64, last=576)
    thin = [s for s in panel_shapes(panel, square, "#D55E00") if s.stroke and s.stroke_width == 0.9]
    scores, context = (
        {tuple(round(value) for value in box) for box in shape.boxes} for shape in thin
    )
    assert scores == {(64 * (i + 1), 64 * (i + 1), 128, 128) for i in range(7)}
    assert context == {(64 * i, 64 * (i + 1), 192, 64) for i in range(8)}
    assert [shape.is_dashed for shape in thin] == [False, True]


def test_heads_and_layers_that_differ_have_panels_of_their_own() -> None:
    panels = panels_of([PER_HEAD])
    assert [(panel.part, panel.layer.dilation[panel.head]) for panel in panels] == [
        ("heads 1-2, 4", 1),
        ("head 3", 3),
    ]
    stack = AttentionStack(layers=(sliding(8), sliding(16), sliding(8)))
    parts = [part for _, _, part in parts_of(Workload(stack, 64, HEADS * 8))]
    assert parts == ["layers 1, 3", "layer 2"]


def test_a_kernel_that_cannot_compute_the_pattern_says_why() -> None:
    (panel,) = panels_of([PER_HEAD], ["longformer-hf"])
    assert "no dilation" in panel.refusal
    assert not panel.computed
    assert "no dilation" in to_svg(draw([panel]), on_paper=True)


def test_dense_kernels_are_drawn_once_whatever_the_patterns() -> None:
    patterns = [Workload(sliding(window), 64, HEADS * 8) for window in (8, 16)]
    panels = panels_of(patterns, ["bert-sdpa", "longformer-masked"])
    assert [panel.kernel for panel in panels] == ["bert-sdpa", *["longformer-masked"] * 2]
    assert panels[0].useful_pairs == panels[0].executed_pairs == 64**2


def drawing(workload: Workload, kernels: Sequence[str]) -> Drawing:
    return draw(panels_of([workload], kernels))


PICTURES = pytest.mark.parametrize(
    ("workload", "kernels"),
    [
        (LARGE, ("bert-sdpa", *SPARSE_KERNELS)),
        (PER_HEAD, SPARSE_KERNELS),
        (PER_HEAD, ()),
        (LARGE.at(1), ("longformer-banded",)),
        (LARGE.at(100_000), SPARSE_KERNELS),
    ],
)


@PICTURES
def test_svg_is_one_accessible_element_in_the_colour_of_its_page(
    workload: Workload, kernels: tuple[str, ...]
) -> None:
    text = render_pattern_svg(workload, kernels)
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.get("viewBox")
    assert root.get("width") is None
    title, description = (root.findtext(f"{SVG}{tag}") for tag in ("title", "desc"))
    assert title
    assert all(kernel in str(description) for kernel in kernels)
    words = " ".join(str(element.text) for element in root.iter(f"{SVG}text"))
    assert all(kernel in words for kernel in kernels)
    assert "attended" in words
    # several fit in one page, which is dark or light
    assert not any(element.get("id") for element in root.iter())
    colours = {element.get(name) for element in root.iter() for name in ("fill", "stroke")}
    assert colours.isdisjoint({"#000000", "#FFFFFF", "#1F2328"})
    assert len(text) < 200_000


@PICTURES
def test_nothing_is_drawn_outside_the_picture(workload: Workload, kernels: tuple[str, ...]) -> None:
    picture = drawing(workload, kernels)
    for shape in picture.shapes:
        for left, top, width, height in shape.boxes if isinstance(shape, Boxes) else ():
            assert left >= 0
            assert top >= 0
            assert left + width <= picture.width
            assert top + height <= picture.height


@PICTURES
def test_terminal_fits_80_columns(workload: Workload, kernels: tuple[str, ...]) -> None:
    console = Console(width=500, file=None, record=True, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(render_terminal(panels_of([workload], kernels), 80))
    assert max(len(line.rstrip()) for line in capture.get().splitlines()) <= 80


def test_png_and_pdf_are_the_picture_at_twice_its_size() -> None:
    picture = drawing(LARGE, SPARSE_KERNELS)
    png = to_image(picture, "png")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert abs(width - 2 * picture.width) <= 1
    assert abs(height - 2 * picture.height) <= 1
    pdf = to_image(picture, "pdf")
    assert pdf.startswith(b"%PDF")
    assert pdf == to_image(picture, "pdf")


def test_custom_kernels_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown"):
        render_pattern_svg(LARGE, ["pkg.mod:Net"])


def test_a_panel_is_hashable_and_counts_the_forward_pass_only() -> None:
    inference = panels_of([LARGE], ["longformer-banded"])[0]
    training = panels_of(
        [Workload(LARGE.pattern, 500, HEADS * 8, mode="training")], ["longformer-banded"]
    )[0]
    assert isinstance(training, Panel)
    assert inference.executed_pairs == training.executed_pairs
