"""A picture as plain data: rectangles, grids of cells and texts, for SVG and for Matplotlib."""

from __future__ import annotations

from dataclasses import dataclass

INK = "ink"
"""The colour of text and of attended pairs: dark on a light page, light on a dark one."""

Box = tuple[float, float, float, float]
"""Left, top, width and height, in pixels from the top left of the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """Rectangles of one look.

    Attributes:
        boxes: where they are.
        fill: `#RRGGBB` or `INK`; empty for none.
        opacity: of the fill, from 0 to 1.
        stroke: colour of the outline; empty for none.
        stroke_width: of the outline, in pixels.
        is_dashed: whether the outline is dashed.
    """

    boxes: tuple[Box, ...]
    fill: str = ""
    opacity: float = 1.0
    stroke: str = ""
    stroke_width: float = 1.0
    is_dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One line of text.

    Attributes:
        x: its left end, in pixels.
        y: its baseline.
        text: the words.
        size: of the letters, in pixels.
        is_bold: whether they are bold.
        is_muted: whether they are lighter than other text.
    """

    x: float
    y: float
    text: str
    size: float = 11.0
    is_bold: bool = False
    is_muted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A picture.

    Attributes:
        width: in pixels.
        height: in pixels.
        shapes: from the lowest to the topmost.
        title: what it shows, in one line.
        description: its numbers in words, for those who cannot see it.
    """

    width: float
    height: float
    shapes: tuple[Boxes | Words, ...]
    title: str
    description: str
