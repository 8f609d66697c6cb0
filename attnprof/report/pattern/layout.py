"""Panels side by side with their words, and what is dark and what is light."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
_HEAD = 52.0
_HEADING = 18.0
_LINE = 14.0
_LETTER = 0.56
"""Width of a letter over its size, rather too wide: fonts differ."""

_SWATCH = 13.0
_BLACK = "#000000"
_NEUTRAL = "#7F7F7F"


def draw(panels: Sequence[Panel]) -> Drawing:
    """The picture of some panels."""
    columns = _columns(len(panels))
    side = min(_WIDEST_PANEL, (WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) / columns)
    styles = styles_of(panel.kernel for panel in panels if panel.kernel)
    captions = [_wrapped(_caption(panel), side) for panel in panels]
    headings = [_wrapped([text], side) for text in words.headings(panels)]
    shapes: list[Boxes | Words] = list(_head(panels))
    top = _HEAD
    for start in range(0, len(panels), columns):
        in_row = range(start, min(start + columns, len(panels)))
        heading_lines = max(len(headings[i]) for i in in_row)
        square_top = top + _HEADING + (heading_lines - 1) * _LINE
        for index in in_row:
            left = _MARGIN + (index - start) * (side + _GAP)
            panel = panels[index]
            first, last = extent(panel)
            square = Square(left=left, top=square_top, side=side, first=first, last=last)
            colour = styles[panel.kernel].colour if panel.kernel else INK
            shapes += _lines(headings[index], left, top + 10, is_bold=True)
            shapes += panel_shapes(panel, square, INK if colour == _BLACK else colour)
            shapes += _lines(captions[index], left, square_top + side + _LINE)
        top = square_top + side + _LINE * (max(len(captions[i]) for i in in_row) + 1) + _GAP / 2
    legend, height = _legend(panels, side, top)
    return Drawing(
        width=WIDTH,
        height=height,
        shapes=(*shapes, *legend),
        title=words.title_of(panels),
        description=". ".join(
            f"{heading}: {'; '.join(_caption(panel))}"
            for heading, panel in zip(words.headings(panels), panels, strict=True)
        ),
    )


def _columns(panels: int) -> int:
    """Panels in a row: 4 make one row, 5 two."""
    return panels if panels <= 4 else 3 if panels <= 6 else 4


def _head(panels: Sequence[Panel]) -> Iterator[Words]:
    yield Words(x=_MARGIN, y=22, text=words.title_of(panels), size=15, is_bold=True)
    below = "rows: queries, columns: keys, from the first token to the last"
    setting = words.setting_of(panels)
    yield Words(x=_MARGIN, y=39, text=f"{setting}; {below}" if setting else below, is_muted=True)


def _lines(texts: Sequence[str], x: float, y: float, *, is_bold: bool = False) -> Iterator[Words]:
    for number, text in enumerate(texts):
        yield Words(x=x, y=y + number * _LINE, text=text, is_bold=is_bold, is_muted=not is_bold)


def _caption(panel: Panel) -> list[str]:
    if panel.refusal:
        return [f"cannot compute it: {panel.refusal}"]
    if not panel.kernel:
        one, many = words.reach_texts(panel)
        reach = f"reach: {one} tokens, {many} after {words.layers_text(panel)}"
        return [f"{words.useful_text(panel)} pairs, {words.share_text(panel)} of dense", reach]
    groups = list(words.block_groups(panel))
    blocks = [
        f"{group.products}: {group.shape}" if len(groups) > 1 else group.shape for group in groups
    ]
    pairs = f"{words.computed_text(panel)} pairs, {words.ratio_text(panel)} the useful"
    return [*blocks, f"{pairs} {words.useful_text(panel)}"]


def _wrapped(texts: Sequence[str], width: float, size: float = 11.0) -> list[str]:
    import textwrap

    letters = max(12, int(width / (size * _LETTER)))
    # A number stays beside its sign.
    together = (text.replace(" %", "\u00a0%") for text in texts)
    return [
        line for text in together for line in textwrap.wrap(text, letters, break_on_hyphens=False)
    ]


def _legend(panels: Sequence[Panel], side: float, top: float) -> tuple[list[Boxes | Words], float]:
    """What is dark and what is light, in as many lines as needed; and where the picture ends."""
    shapes: list[Boxes | Words] = []
    x, y = _MARGIN, top
    for swatches, text in _legend_entries(panels, side):
        width = _SWATCH + 6 + len(text) * 11 * _LETTER + _GAP
        if x > _MARGIN and x + width - _GAP > WIDTH - _MARGIN:
            x, y = _MARGIN, y + 1.4 * _LINE
        shapes += [_swatch(swatch, x, y) for swatch in swatches]
        shapes.append(Words(x=x + _SWATCH + 6, y=y + 10.5, text=text))
        x += width
    return shapes, y + _SWATCH + _MARGIN


def _swatch(look: Boxes, x: float, y: float) -> Boxes:
    from dataclasses import replace

    return replace(look, boxes=((x, y, _SWATCH, _SWATCH),))


def _legend_entries(panels: Sequence[Panel], side: float) -> Iterator[tuple[list[Boxes], str]]:
    tokens = max(tokens_of_panel(panel, side) for panel in panels)
    lighter = f"; lighter: part of {tokens} x {tokens} tokens" if tokens > 1 else ""
    dark = Boxes(boxes=(), fill=INK, opacity=DARKEST)
    frame = Boxes(boxes=(), stroke=INK, stroke_width=0.8)
    yield [dark], f"attended{lighter}"
    shown = [panel for panel in panels if panel.computed]
    if not shown:
        yield [frame], "not attended"
        return
    colours = {style.colour for style in styles_of(panel.kernel for panel in shown).values()}
    colour = next(iter(colours)) if len(colours) == 1 else _NEUTRAL
    yield [Boxes(boxes=(), fill=colour, opacity=ONCE)], "computed in vain: masked"
    if any(not part.scores for panel in shown for part in panel.forward_blocks):
        yield [Boxes(boxes=(), fill=colour, opacity=TWICE)], "computed twice"
        dashed = Boxes(boxes=(), stroke=colour, is_dashed=True)
        yield [dashed], "dashed: a block of context, not of scores"
    yield [Boxes(boxes=(), stroke=colour, stroke_width=2)], "a block"
    yield [frame], "not computed"
    if any(extent(panel) != (0, panel.seq_len) for panel in panels):
        yield [Boxes(boxes=(), fill=INK, opacity=PADDING)], "padding outside the sequence"
