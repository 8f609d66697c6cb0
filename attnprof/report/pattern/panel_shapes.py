"""The square of one panel: attended pairs, what is computed around them, and the blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from attnprof.report.pattern.cells import cells_of, tokens_of_cell
from attnprof.report.pattern.drawing import INK, Box, Boxes
from attnprof.report.pattern.panels import Panel

LEVELS = 6
"""Shades of a cell between no pair and all pairs."""

FAINTEST, DARKEST = 0.22, 0.72
"""Opacity of a cell with a single attended pair, and of one with all of them."""

ONCE, TWICE = 0.28, 0.55
"""Opacity of a cell whose pairs are computed once, and twice or more."""

PADDING = 0.08

_PIXELS_OF_CELL = 2.2
"""A cell has at least this side, so that a picture has no more of them than one can see."""

_SMALLEST_OUTLINE = 5.0
_MOST_OUTLINES = 200
_SMALLEST_EXAMPLE = 2.5
"""Blocks are outlined if their sides have as many pixels, and if there are no more of them; one is
outlined as an example if it has the latter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """Where the pairs of a panel are drawn.

    Attributes:
        left: in pixels.
        top: in pixels.
        side: in pixels.
        first: the position at the left and at the top; below 0 where blocks have padding there.
        last: the position after the last one that is drawn.
    """

    left: float
    top: float
    side: float
    first: int
    last: int

    @property
    def scale(self) -> float:
        """Pixels of one token."""
        return self.side / (self.last - self.first)

    def box(self, queries: tuple[float, float], keys: tuple[float, float]) -> Box:
        """The rectangle from the first query and key to before the last ones."""
        return (
            self.left + (keys[0] - self.first) * self.scale,
            self.top + (queries[0] - self.first) * self.scale,
            (keys[1] - keys[0]) * self.scale,
            (queries[1] - queries[0]) * self.scale,
        )


def extent(panel: Panel) -> tuple[int, int]:
    """The first position, and the one after the last, of a panel's tokens and padding."""
    first, last = 0, panel.seq_len
    for run in panel.runs:
        for positions, step in ((run.queries, run.query_step), (run.keys, run.key_step)):
            first = min(first, positions[0])
            last = max(last, positions[-1] + 1 + (run.count - 1) * step)
    return first, last


def tokens_of_panel(panel: Panel, side: float) -> int:
    """Tokens of one cell in a panel of as many pixels."""
    first, last = extent(panel)
    most_cells = max(8, int(side * panel.seq_len / (last - first) / _PIXELS_OF_CELL))
    return tokens_of_cell(panel.seq_len, most_cells)


def panel_shapes(panel: Panel, square: Square, colour: str) -> Iterator[Boxes]:
    """The shapes of one panel, from the lowest to the topmost.

    Args:
        panel: a head, with or without blocks.
        square: where it is drawn.
        colour: of its kernel.
    """
    n = panel.seq_len
    whole = square.box((0, n), (0, n))
    own = (square.first, square.last)
    if own != (0, n):
        area = square.box(own, own)
        yield Boxes(boxes=_around(area, whole), fill=INK, opacity=PADDING)
    tokens = tokens_of_panel(panel, square.side)
    cells = cells_of(panel, tokens, tokens)
    computed = np.minimum(cells.computed, 2)
    shades = np.where(computed <= 1, ONCE * computed, ONCE + (TWICE - ONCE) * (computed - 1))
    yield from _cells(shades, tokens, n, square, colour)
    darkness = np.where(cells.attended > 0, FAINTEST + (DARKEST - FAINTEST) * cells.attended, 0.0)
    yield from _cells(darkness, tokens, n, square, INK)
    yield from _outlines(panel, square, colour)
    yield Boxes(boxes=(whole,), stroke=INK, stroke_width=0.8)


def _around(area: Box, hole: Box) -> tuple[Box, ...]:
    """What is left of an area outside of a hole in it: above, below, left and right of it."""
    left, top, width, height = area
    x, y, w, h = hole
    boxes = (
        (left, top, width, y - top),
        (left, y + h, width, top + height - y - h),
        (left, y, x - left, h),
        (x + w, y, left + width - x - w, h),
    )
    return tuple(box for box in boxes if box[2] > 0 and box[3] > 0)


def _cells(
    opacity: NDArray[np.float64], tokens: int, seq_len: int, square: Square, fill: str
) -> Iterator[Boxes]:
    """Cells of equal opacity as one shape; neighbours in a row are one rectangle."""
    levels = np.ceil(opacity / DARKEST * LEVELS).astype(int)
    by_level: dict[int, list[Box]] = {}
    for row, values in enumerate(levels.tolist()):
        column = 0
        for level, run in groupby(values):
            stop = column + sum(1 for _ in run)
            if level:
                rows = (row * tokens, min((row + 1) * tokens, seq_len))
                columns = (column * tokens, min(stop * tokens, seq_len))
                by_level.setdefault(level, []).append(square.box(rows, columns))
            column = stop
    for level, boxes in sorted(by_level.items()):
        yield Boxes(boxes=tuple(boxes), fill=fill, opacity=round(level / LEVELS * DARKEST, 3))


def _outlines(panel: Panel, square: Square, colour: str) -> Iterator[Boxes]:
    """Outlines of all blocks where they can be told apart, and of one that stands for the rest."""
    for part in panel.forward_blocks:
        is_context = not part.scores
        large = [
            run
            for run in part.runs
            if min(_span(run.queries), _span(run.keys)) * square.scale >= _SMALLEST_OUTLINE
        ]
        if large and sum(run.count for run in large) <= _MOST_OUTLINES:
            boxes = [block for run in large for block in run.blocks()]
            yield Boxes(
                boxes=_boxes(boxes, square),
                stroke=colour,
                stroke_width=0.9,
                is_dashed=is_context,
            )
        most_pairs = max(run.pairs for run in part.runs)
        longest = [run for run in part.runs if run.pairs == most_pairs]
        main = longest[len(longest) // 2]
        if min(_span(main.queries), _span(main.keys)) * square.scale >= _SMALLEST_EXAMPLE:
            yield Boxes(
                boxes=_boxes([main.middle], square),
                stroke=colour,
                stroke_width=2.0,
                is_dashed=is_context,
            )


def _boxes(blocks: Sequence[tuple[range, range]], square: Square) -> tuple[Box, ...]:
    return tuple(
        square.box((queries[0], queries[-1] + 1), (keys[0], keys[-1] + 1))
        for queries, keys in blocks
    )


def _span(positions: range) -> int:
    return positions[-1] + 1 - positions[0]
