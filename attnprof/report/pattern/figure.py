"""A drawing as PNG or PDF, by Matplotlib."""

from __future__ import annotations

import io
import logging
from typing import Any, Literal

from attnprof.report.pattern.drawing import INK, Box, Boxes, Drawing, Words

_INK = "#1F2328"
_PIXELS_PER_INCH = 100
_SHARPNESS = 2.0
"""Pixels of a PNG for each pixel of the drawing."""

_DIGITS = 3
_POINTS = 72 / _PIXELS_PER_INCH


def to_image(drawing: Drawing, form: Literal["png", "pdf"]) -> bytes:
    """The drawing on white."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # about its cache folder
    from matplotlib.figure import Figure

    figure = Figure((drawing.width / _PIXELS_PER_INCH, drawing.height / _PIXELS_PER_INCH))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, drawing.width)
    axes.set_ylim(drawing.height, 0)
    for order, shape in enumerate(drawing.shapes):
        if isinstance(shape, Words):
            _write(axes, shape, order)
        else:
            _add(axes, shape, order)
    image = io.BytesIO()
    # Without the date, so that the same picture is the same file.
    metadata = {"Title": drawing.title} | ({"CreationDate": None} if form == "pdf" else {})
    figure.savefig(image, format=form, dpi=_SHARPNESS * _PIXELS_PER_INCH, metadata=metadata)
    return image.getvalue()


def _write(axes: Any, words: Words, order: int) -> None:
    axes.text(
        words.x,
        words.y,
        words.text,
        fontsize=words.size * _POINTS,
        fontweight="bold" if words.is_bold else "normal",
        color=_INK,
        alpha=0.78 if words.is_muted else 1.0,
        zorder=order,
        parse_math=False,
    )


def _corners(box: Box) -> list[tuple[float, float]]:
    """The corners of a rectangle, rounded, so that neighbours have the same edge."""
    x, y, width, height = box
    left, right = round(x, _DIGITS), round(x + width, _DIGITS)
    top, bottom = round(y, _DIGITS), round(y + height, _DIGITS)
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _add(axes: Any, shape: Boxes, order: int) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    def colour(name: str, opacity: float) -> Any:
        return to_rgba(_INK if name == INK else name, opacity) if name else "none"

    axes.add_collection(
        PolyCollection(
            [_corners(box) for box in shape.boxes],
            facecolors=colour(shape.fill, shape.opacity),
            edgecolors=colour(shape.stroke, 1.0),
            linewidths=shape.stroke_width * _POINTS if shape.stroke else 0,
            linestyles=[(0, (4, 2.5))] if shape.is_dashed else "solid",
            antialiaseds=bool(shape.stroke),
            zorder=order,
        ),
        autolim=False,
    )
