"""A figure without global state, the sizes of its text, and its bytes."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from attnprof.report.image_forms import ImageForm

TITLE_POINTS, HEADING_POINTS, TEXT_POINTS = 13.0, 10.5, 9.5
"""Sizes of letters. In a picture that is 10 inches wide, scaled to 700 pixels, 9.5 points are 9
pixels."""

LINE_INCHES = TEXT_POINTS * 1.25 / 72
"""Height of a line of text."""

INK, MUTED, FAINT = "#1A1A1A", "#555555", "#B8B8B8"
GRID = "#EBEBEB"

DPI = 160

_METADATA: dict[ImageForm, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What would make the bytes of a picture depend on the day or on the release of Matplotlib."""

_SETTINGS: dict[str, object] = {
    "font.size": TEXT_POINTS,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.labelsize": TEXT_POINTS,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": TEXT_POINTS,
    "ytick.labelsize": TEXT_POINTS,
    "legend.fontsize": TEXT_POINTS,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@contextmanager
def settings(salt: str) -> Generator[None]:
    """Matplotlib with our settings only, whatever the user's are; afterwards as it was before.

    Args:
        salt: makes the identifiers in an SVG the same each time.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        chosen: Any = _SETTINGS | {"svg.hashsalt": salt}
        matplotlib.rcParams.update(chosen)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def text_size(figure: Figure, text: str, points: float = TEXT_POINTS) -> tuple[float, float]:
    """Width and height of a text of one or more lines, in inches."""
    renderer = cast("FigureCanvasAgg", figure.canvas).get_renderer()
    font = FontProperties(size=points, family=matplotlib.rcParams["font.family"])
    lines = text.split("\n")
    widths = [renderer.get_text_width_height_descent(line, font, False)[0] for line in lines]
    return max(widths) / figure.dpi, len(lines) * points * 1.25 / 72


def saved(figure: Figure, form: ImageForm) -> bytes:
    """The picture as a file's bytes, the same for the same figure."""
    content = io.BytesIO()
    figure.savefig(content, format=form, metadata=_METADATA[form])
    return content.getvalue()
