"""The picture of a chart: its panels beside one another under one heading."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnprof.report.charts.bars import bars_height, draw_bars, names_width
from attnprof.report.charts.canvas import (
    FAINT,
    HEADING_POINTS,
    MUTED,
    TEXT_POINTS,
    TITLE_POINTS,
    new_figure,
    text_size,
)
from attnprof.report.charts.curves import Growth, Panel
from attnprof.report.charts.growth_panel import (
    BAND_ALPHA,
    CROSSING,
    ESTIMATE_DASH,
    ESTIMATE_WIDTH,
    LABEL_GAP,
    LINE_INCHES,
    MARKER,
    draw_growth,
)
from attnprof.report.charts.tags import Tags

WIDTH, HEIGHT = 10.0, 5.0
"""Of a picture, in inches, as are all sizes below; it is higher where it has to be."""

EDGE = 0.12
HEAD = 0.5
"""Height of the title, without the setting below it."""

LEGEND = 0.3
ABOVE, BELOW = 0.3, 0.5
"""From the top of a panel to its axes, and from the axes to its bottom."""

NUMBERS = 0.72
"""Width of the numbers of a vertical axis."""

_BAR_GAP = 0.25


@dataclass(frozen=True, slots=True)
class Place:
    """Where the axes of a panel are, from the lower left corner of the picture."""

    left: float
    bottom: float
    width: float
    height: float


def growth_figure(growth: Growth, heading: str, setting: str, tags: Tags) -> Figure:
    """The growth chart: time at the left, MACs and memory at the right; bars at one length."""
    is_bars = len(growth.values) < 2
    figure = new_figure(WIDTH, HEIGHT)
    head = _wrapped(figure, setting)
    foot = _wrapped(figure, _left_out_text(growth.left_out))
    above = HEAD + len(head) * LINE_INCHES
    below = LEGEND + len(foot) * LINE_INCHES
    height = _height(figure, growth, above + below, is_bars=is_bars)
    figure.set_size_inches(WIDTH, height)
    _write_head(figure, heading, head)
    _write_foot(figure, foot)
    area = Place(0, below, WIDTH, height - above - below)
    places = _bar_places(figure, growth, area) if is_bars else _curve_places(figure, growth, area)
    for index, (panel, place) in enumerate(zip(growth.panels, places, strict=True)):
        axes = add_axes(figure, place)
        axes.set_title(panel.quantity.title, loc="left", fontsize=HEADING_POINTS)
        if is_bars:
            draw_bars(axes, panel, tags, has_names=index == 0)
        else:
            draw_growth(axes, panel, growth, tags)
    if not growth.panels:
        figure.text(0.5, 0.5, "no kernel could be run", ha="center", va="center")
    add_legend(figure, growth.panels, is_bars=is_bars, y=(below - LEGEND) / height)
    return figure


def add_axes(figure: Figure, place: Place) -> Axes:
    """Axes at a place."""
    width, height = figure.get_size_inches()
    return figure.add_axes(
        (place.left / width, place.bottom / height, place.width / width, place.height / height)
    )


def names_room(figure: Figure, panels: Sequence[Panel]) -> float:
    """Width of the longest name of a curve, and the gap before it."""
    names = [curve.label for panel in panels for curve in panel.curves]
    return LABEL_GAP + max((text_size(figure, name)[0] for name in names), default=0) + EDGE


def _height(figure: Figure, growth: Growth, around: float, *, is_bars: bool) -> float:
    """The height of the picture; twice as wide as high where the names of all curves have room."""
    rows = max((len(panel.curves) for panel in growth.panels), default=1)
    if is_bars:
        return around + ABOVE + BELOW + bars_height(rows)
    panels_in_column = 2 if len(growth.panels) > 2 else 1
    needed = panels_in_column * (ABOVE + BELOW + rows * LINE_INCHES)
    return max(HEIGHT, around + needed)


def _curve_places(figure: Figure, growth: Growth, area: Place) -> list[Place]:
    """The first panel as high as the picture, the others above one another beside it."""
    names = names_room(figure, growth.panels)
    columns = min(2, len(growth.panels))
    if not columns:
        return []
    column = area.width / columns
    width = column - NUMBERS - names
    places = [
        Place(NUMBERS, area.bottom + BELOW, width, area.height - ABOVE - BELOW),
    ]
    rest = len(growth.panels) - 1
    for row in range(rest):
        height = area.height / rest
        bottom = area.bottom + height * (rest - 1 - row)
        places.append(Place(column + NUMBERS, bottom + BELOW, width, height - ABOVE - BELOW))
    return places


def _bar_places(figure: Figure, growth: Growth, area: Place) -> list[Place]:
    """Panels beside one another; the names of the bars are at the left of all."""
    names = EDGE + names_width(figure, growth.panels)
    count = max(1, len(growth.panels))
    column = (area.width - names - EDGE) / count
    return [
        Place(
            names + index * column,
            area.bottom + BELOW,
            column - _BAR_GAP,
            area.height - ABOVE - BELOW,
        )
        for index in range(len(growth.panels))
    ]


def _wrapped(figure: Figure, text: str) -> list[str]:
    """A text in lines that fit into the picture."""
    if not text:
        return []
    letter = text_size(figure, text)[0] / len(text)
    return textwrap.wrap(text, int((WIDTH - 2 * EDGE) / letter))


def _left_out_text(reasons: Sequence[str]) -> str:
    return f"not shown: {'; '.join(reasons)}" if reasons else ""


def _write_head(figure: Figure, heading: str, setting: list[str]) -> None:
    height = figure.get_figheight()
    figure.text(
        EDGE / WIDTH,
        1 - 0.12 / height,
        heading,
        fontsize=TITLE_POINTS,
        fontweight="bold",
        va="top",
    )
    for index, line in enumerate(setting):
        y = 1 - (0.4 + index * LINE_INCHES) / height
        figure.text(EDGE / WIDTH, y, line, color=MUTED, va="top")


def _write_foot(figure: Figure, lines: list[str]) -> None:
    for index, line in enumerate(reversed(lines)):
        y = (0.06 + index * LINE_INCHES) / figure.get_figheight()
        figure.text(EDGE / WIDTH, y, line, color=MUTED)


def add_legend(figure: Figure, panels: Sequence[Panel], *, is_bars: bool, y: float) -> None:
    """What hollow points, bands, rings and grey lines mean, each where there are any.

    Args:
        figure: gets the legend along its lower edge.
        panels: what it shows.
        is_bars: whether they are bars.
        y: lower end, as a part of the height.
    """
    curves = [curve for panel in panels for curve in panel.curves]
    points = [point for curve in curves for point in curve.points]
    estimate = {"linestyle": (0, ESTIMATE_DASH), "linewidth": ESTIMATE_WIDTH}
    hollow = {"color": MUTED, "marker": "o", "markerfacecolor": "white"}
    entries = [
        (
            any(point.is_predicted for point in points),
            Line2D([], [], markersize=MARKER, **hollow, **estimate),  # type: ignore[arg-type]
            "predicted, not measured",
        ),
        (
            any(curve.counted for curve in curves),
            Line2D([], [], markersize=7.5, **hollow, **estimate),  # type: ignore[arg-type]
            "counted by ptflops",
        ),
        (
            any(point.low and point.high for point in points),
            Line2D([], [], color=MUTED, linewidth=1.4)
            if is_bars
            else Patch(color=MUTED, alpha=2 * BAND_ALPHA, linewidth=0),
            "99 % interval",
        ),
        (
            any(panel.crossings for panel in panels),
            Line2D(
                [],
                [],
                linestyle="none",
                marker="o",
                markersize=CROSSING,
                markerfacecolor="none",
                markeredgecolor=MUTED,
                markeredgewidth=1.4,
            ),
            "break-even with bert-sdpa",
        ),
        (not is_bars, Line2D([], [], color=FAINT, linewidth=1.0), "n and n²"),
    ]
    shown = [(handle, name) for is_shown, handle, name in entries if is_shown and panels]
    if shown:
        handles, names = zip(*shown, strict=True)
        figure.legend(
            handles,
            names,
            loc="lower left",
            bbox_to_anchor=(0.0, y),
            borderaxespad=0.3,
            ncols=len(names),
            fontsize=TEXT_POINTS,
            handlelength=2.4,
            columnspacing=1.6,
        )
