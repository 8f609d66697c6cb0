"""The picture of the growth chart."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from attnprof.report.charts.bars import bars_height, draw_bars, names_width
from attnprof.report.charts.canvas import HEADING_POINTS, LINE_INCHES
from attnprof.report.charts.curves import Growth, Panel
from attnprof.report.charts.frame import (
    ABOVE,
    BELOW,
    BELOW_TICKS,
    EDGE,
    NUMBERS,
    WIDTH,
    Place,
    add_axes,
    framed,
    usual_height,
)
from attnprof.report.charts.growth_panel import axis_title, draw_growth
from attnprof.report.charts.legend import add_legend, growth_legend, legend_height
from attnprof.report.charts.marks import names_room
from attnprof.report.charts.tags import Tags

_BAR_GAP = 0.25


def growth_figure(growth: Growth, heading: str, setting: str, tags: Tags) -> Figure:
    """The growth chart: time at the left, MACs and memory at the right; bars at one length."""
    notes = f"not shown: {'; '.join(growth.left_out)}" if growth.left_out else ""
    entries = growth_legend(growth, growth.panels)
    frame = framed(
        heading,
        setting,
        notes,
        legend_height=legend_height(entries, WIDTH),
        panels_height=panels_height(growth),
    )
    figure = frame.figure
    if not growth.panels:
        figure.text(0.5, 0.5, "no kernel could be run", ha="center", va="center")
        return figure
    draw_panels(figure, growth, frame.area, tags)
    add_legend(figure, entries, frame.legend)
    return figure


def draw_panels(figure: Figure, growth: Growth, area: Place, tags: Tags, prefix: str = "") -> None:
    """Draw all panels of a growth chart into a part of a picture.

    Args:
        figure: the picture.
        growth: with one panel or more.
        area: where the panels go; `panels_height` has its height.
        tags: get the values of the points.
        prefix: of the title of the first panel.
    """
    places = (_bar_places if growth.is_bars else _curve_places)(growth.panels, area)
    for index, (panel, place) in enumerate(zip(growth.panels, places, strict=True)):
        axes = add_axes(figure, place)
        title = panel.quantity.title if index else f"{prefix}{panel.quantity.title}"
        axes.set_title(title, loc="left", fontsize=HEADING_POINTS)
        if growth.is_bars:
            draw_bars(axes, panel, tags, has_names=index == 0)
        else:
            draw_growth(axes, panel, growth, tags)
            is_lowest = place.bottom - area.bottom <= BELOW
            axes.set_xlabel(
                axis_title(growth.axis, is_decoding=growth.is_decoding) if is_lowest else "",
                labelpad=2,
            )


def labels_of(panels: Sequence[Panel]) -> list[str]:
    """The labels of all curves."""
    return [curve.label for panel in panels for curve in panel.curves]


def panels_height(growth: Growth) -> float:
    """Height of the panels: the usual one, or more where the names of all curves need it."""
    rows = max((len(panel.curves) for panel in growth.panels), default=1)
    if growth.is_bars:
        return ABOVE + BELOW + bars_height(rows)
    in_column = 2 if len(growth.panels) > 2 else 1
    needed = in_column * (ABOVE + rows * LINE_INCHES) + BELOW + (in_column - 1) * BELOW_TICKS
    return max(usual_height(), needed)


def _curve_places(panels: Sequence[Panel], area: Place) -> list[Place]:
    """The first panel as high as the picture, the others above one another beside it."""
    column = area.width / min(2, len(panels))
    width = column - NUMBERS - names_room(labels_of(panels))
    places = [Place(NUMBERS, area.bottom + BELOW, width, area.height - ABOVE - BELOW)]
    rest = len(panels) - 1
    around = BELOW + rest * ABOVE + (rest - 1) * BELOW_TICKS
    for row in range(rest):
        height = (area.height - around) / rest
        below = BELOW + (rest - 1 - row) * (height + ABOVE + BELOW_TICKS)
        places.append(Place(column + NUMBERS, area.bottom + below, width, height))
    return places


def _bar_places(panels: Sequence[Panel], area: Place) -> list[Place]:
    """Panels beside one another; the names of the bars are at the left of all."""
    names = EDGE + names_width(panels)
    column = (area.width - names - EDGE) / len(panels)
    height = area.height - ABOVE - BELOW
    return [
        Place(names + index * column, area.bottom + BELOW, column - _BAR_GAP, height)
        for index in range(len(panels))
    ]
