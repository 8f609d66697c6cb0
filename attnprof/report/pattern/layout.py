"""Panels side by side with their words, and what is dark and what is light."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace

from attnprof.core.units import format_tokens
from attnprof.report.kernel_styles import styles_of
from attnprof.report.pattern import words
from attnprof.report.pattern.drawing import INK, Boxes, Drawing, Words
from attnprof.report.pattern.panel_shapes import (
    DARKEST,
    ONCE,
    PADDING,
    TWICE,
    Square,
    extent,
    panel_shapes,
    tokens_of_panel,
)
from attnprof.report.pattern.panels import Panel

WIDTH = 700.0
_MARGIN, _GAP = 12.0, 18.0
_WIDEST_PANEL = 420.0
_HEADING = 18.0
_LINE = 14.0
_SIZE = 11.0
_LETTER, _BOLD_LETTER = 0.52, 0.585
"""Width of a letter over its size, about that of wide fonts."""

_UNBROKEN = (" %", " x ", " other", "heads ", "layers ")
"""Words at whose spaces no line ends."""

_SWATCH = 13.0
_BLACK = "#000000"
_NEUTRAL = "#7F7F7F"


def draw(panels: Sequence[Panel]) -> Drawing:
    """The picture of some panels."""
    columns = _columns(len(panels))
    side = min(_WIDEST_PANEL, (WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) / columns)
    width = 2 * _MARGIN + columns * side + (columns - 1) * _GAP
    headings = words.headings(panels)
    shapes, top = _head(panels, width)
    for start in range(0, len(panels), columns):
        stop = start + columns
        row, top = _row(panels[start:stop], headings[start:stop], side, top)
        shapes += row
    legend, height = _legend(panels, side, width, top)
    return Drawing(
        width=width,
        height=height,
        shapes=(*shapes, *legend),
        title=words.title_of(panels),
        description=". ".join(
            f"{heading}: {'; '.join(_caption(panel))}"
            for heading, panel in zip(headings, panels, strict=True)
        ),
    )


def _columns(panels: int) -> int:
    """Panels in a row: 4 make one row, 5 two."""
    return panels if panels <= 4 else 3 if panels <= 6 else 4


def _head(panels: Sequence[Panel], width: float) -> tuple[list[Boxes | Words], float]:
    """The title with what is below it; and where the panels begin."""
    title = Words(x=_MARGIN, y=22, text=words.title_of(panels), size=15, is_bold=True)
    below = [words.setting_of(panels), "rows: queries, columns: keys, from first to last"]
    lines = _wrapped(["; ".join(text for text in below if text)], width - 2 * _MARGIN)
    return [title, *_lines(lines, _MARGIN, 39)], 38 + _LINE * len(lines)


def _row(
    panels: Sequence[Panel], headings: Sequence[str], side: float, top: float
) -> tuple[list[Boxes | Words], float]:
    """Panels side by side, with headings and captions; and where they end."""
    styles = styles_of(panel.kernel for panel in panels if panel.kernel)
    above = [_wrapped([heading], side, _BOLD_LETTER) for heading in headings]
    below = [_wrapped(_caption(panel), side) for panel in panels]
    square_top = top + _HEADING + (max(map(len, above)) - 1) * _LINE
    shapes: list[Boxes | Words] = []
    for index, panel in enumerate(panels):
        left = _MARGIN + index * (side + _GAP)
        first, last = extent(panel)
        square = Square(left=left, top=square_top, side=side, first=first, last=last)
        colour = styles[panel.kernel].colour if panel.kernel else INK
        shapes += _lines(above[index], left, top + 10, is_bold=True)
        shapes += panel_shapes(panel, square, INK if colour == _BLACK else colour)
        shapes += _lines(below[index], left, square_top + side + _LINE)
    return shapes, square_top + side + _LINE * (max(map(len, below)) + 1) + _GAP / 2


def _lines(texts: Sequence[str], x: float, y: float, *, is_bold: bool = False) -> Iterator[Words]:
    for number, text in enumerate(texts):
        yield Words(x=x, y=y + number * _LINE, text=text, is_bold=is_bold, is_muted=not is_bold)


def _caption(panel: Panel) -> list[str]:
    if panel.refusal:
        return [f"cannot compute it: {panel.refusal}"]
    useful = words.useful_text(panel)
    if not panel.kernel:
        _, many = words.reach_texts(panel)
        return [
            f"{useful} pairs, {words.share_text(panel)} of {words.dense_text(panel)}",
            f"1 layer reaches {format_tokens(panel.reach[0])},",
            f"{words.layers_text(panel)} {many}",
        ]
    groups = list(words.block_groups(panel))
    blocks = [
        f"{group.products}: {group.shape}" if len(groups) > 1 else group.shape for group in groups
    ]
    pairs = f"{words.computed_text(panel)} pairs computed,"
    return [*blocks, pairs, f"{words.ratio_text(panel)} the {useful} useful"]


def _wrapped(texts: Sequence[str], width: float, letter: float = _LETTER) -> list[str]:
    """Lines that fit a width; a number stays beside its sign, a size in one line."""
    letters = max(12, int(width / (_SIZE * letter)))
    for apart in _UNBROKEN:
        texts = [text.replace(apart, apart.replace(" ", "\u00a0")) for text in texts]
    return [line for text in texts for line in textwrap.wrap(text, letters, break_on_hyphens=False)]


def _legend(
    panels: Sequence[Panel], side: float, width: float, top: float
) -> tuple[list[Boxes | Words], float]:
    """What is dark and what is light, in as many lines as needed; and where the picture ends."""
    shapes: list[Boxes | Words] = []
    x, y = _MARGIN, top
    for look, text in _legend_entries(panels, side):
        taken = _SWATCH + 6 + len(text) * _SIZE * _LETTER
        if x > _MARGIN and x + taken > width - _MARGIN:
            x, y = _MARGIN, y + 1.4 * _LINE
        shapes += [
            replace(look, boxes=((x, y, _SWATCH, _SWATCH),)),
            Words(x=x + _SWATCH + 6, y=y + 10.5, text=text),
        ]
        x += taken + _GAP
    return shapes, y + _SWATCH + _MARGIN


def _legend_entries(panels: Sequence[Panel], side: float) -> Iterator[tuple[Boxes, str]]:
    tokens = max(tokens_of_panel(panel, side) for panel in panels)
    lighter = f"; fainter: a part of {words.cell_text(tokens)}" if tokens > 1 else ""
    yield Boxes(boxes=(), fill=INK, opacity=DARKEST), f"attended{lighter}"
    frame = Boxes(boxes=(), stroke=INK, stroke_width=0.8)
    shown = [panel for panel in panels if panel.computed]
    if not shown:
        yield frame, "not attended"
        return
    colours = {style.colour for style in styles_of(panel.kernel for panel in shown).values()}
    colour = colours.pop() if len(colours) == 1 else _NEUTRAL
    yield Boxes(boxes=(), fill=colour, opacity=ONCE), "computed, then masked"
    if any(not part.scores for panel in shown for part in panel.forward_blocks):
        yield Boxes(boxes=(), fill=colour, opacity=TWICE), "computed twice"
        dashed = Boxes(boxes=(), stroke=colour, is_dashed=True)
        yield dashed, "dashed: a block of context, not of scores"
    yield Boxes(boxes=(), stroke=colour, stroke_width=2), "a block"
    yield frame, "not computed"
    if any(extent(panel) != (0, panel.seq_len) for panel in panels):
        yield Boxes(boxes=(), fill=INK, opacity=PADDING), "padding outside the sequence"
