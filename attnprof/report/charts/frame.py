"""What every picture has around its panels: a heading, the setting, notes, and where axes go."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnprof.report.charts.canvas import (
    LINE_INCHES,
    MUTED,
    TITLE_POINTS,
    new_figure,
    text_size,
)

WIDTH, HEIGHT = 10.0, 5.0
"""Of a picture, in inches, as are all sizes below; it is higher where it has to be."""

EDGE = 0.12
ABOVE, BELOW, BELOW_TICKS = 0.3, 0.5, 0.27
"""From the top of a panel to its axes; from the axes to its bottom, with and without a title."""

NUMBERS = 0.72
"""Width of the numbers of a vertical axis."""

_LEGEND = 0.3
"""Height of a legend of one row."""

_HEAD, _HEAD_EDGE, _SETTING = 0.5, 0.12, 0.4


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is, from the lower left corner of the picture."""

    left: float
    bottom: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture before its panels are drawn.

    Attributes:
        figure: the picture, with heading and notes.
        area: what is left for the panels.
        legend: lower end of the legend, as a part of the height.
    """

    figure: Figure
    area: Place
    legend: float


def framed(
    heading: str, setting: str, notes: str, *, legend_height: float, panels_height: float
) -> Frame:
    """A picture with room for panels, and the places of what is around them.

    Args:
        heading: what it shows.
        setting: what holds for all of it.
        notes: what it does not show, and why.
        legend_height: room for the legend.
        panels_height: height of the panels.
    """
    figure = new_figure(WIDTH, HEIGHT)
    head, foot = _wrapped(figure, setting), _wrapped(figure, notes)
    above = _HEAD + len(head) * LINE_INCHES
    below = legend_height + len(foot) * LINE_INCHES
    height = above + below + panels_height
    figure.set_size_inches(WIDTH, height)
    left = EDGE / WIDTH
    top = 1 - _HEAD_EDGE / height
    figure.text(left, top, heading, fontsize=TITLE_POINTS, fontweight="bold", va="top")
    for index, line in enumerate(head):
        y = 1 - (_SETTING + index * LINE_INCHES) / height
        figure.text(left, y, line, color=MUTED, va="top")
    for index, line in enumerate(reversed(foot)):
        figure.text(left, (0.06 + index * LINE_INCHES) / height, line, color=MUTED)
    area = Place(0, below, WIDTH, height - above - below)
    return Frame(figure, area, (below - legend_height) / height)


def usual_height() -> float:
    """Height of the panels in a picture of the usual height, with one line of setting."""
    return HEIGHT - _HEAD - _LEGEND - LINE_INCHES


def add_axes(figure: Figure, place: Place) -> Axes:
    """Axes at a place."""
    width, height = figure.get_size_inches()
    return figure.add_axes(
        (place.left / width, place.bottom / height, place.width / width, place.height / height)
    )


def _wrapped(figure: Figure, text: str) -> list[str]:
    """A text in lines that fit into the picture."""
    if not text:
        return []
    letter = text_size(figure, text)[0] / len(text)
    return textwrap.wrap(text, int((WIDTH - 2 * EDGE) / letter * 0.96))
