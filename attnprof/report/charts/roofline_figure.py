"""The picture of the roofline chart."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attnprof.report.charts.canvas import HEADING_POINTS, LINE_INCHES, MUTED
from attnprof.report.charts.frame import (
    ABOVE,
    BELOW,
    EDGE,
    NUMBERS,
    WIDTH,
    Place,
    add_axes,
    framed,
    usual_height,
)
from attnprof.report.charts.legend import Entry, add_legend, legend_height
from attnprof.report.charts.marks import MARKER, names_room
from attnprof.report.charts.roofline import Roofline
from attnprof.report.charts.roofline_panel import X_TITLE, draw_roofline
from attnprof.report.charts.tags import Tags

TITLE = "Attained FLOP/s, and what the machine allows"
NO_RATES = "no rates of a machine: time the kernels, or name one with --machine"


def roofline_figure(roofline: Roofline, heading: str, setting: str, tags: Tags) -> Figure:
    """One panel with all kernels and the roofs of their machines."""
    entries = roofline_legend(roofline)
    around = ABOVE + BELOW
    frame = framed(
        heading,
        setting,
        "; ".join(roofline.notes),
        legend_height=legend_height(entries, WIDTH),
        panels_height=max(usual_height(), around + len(roofline.curves) * LINE_INCHES),
    )
    figure, area = frame.figure, frame.area
    if not roofline.roofs:
        figure.text(0.5, 0.5, NO_RATES, ha="center", va="center")
        return figure
    width = area.width - NUMBERS - roofline_names_room(roofline)
    axes = add_axes(figure, Place(NUMBERS, area.bottom + BELOW, width, area.height - around))
    axes.set_title(TITLE, loc="left", fontsize=HEADING_POINTS)
    draw_roofline(axes, roofline, tags)
    axes.set_xlabel(X_TITLE, labelpad=2)
    add_legend(figure, entries, frame.legend)
    return figure


def roofline_names_room(roofline: Roofline) -> float:
    """Width of the longest name of a curve, and what is around it, in inches."""
    return names_room([curve.label for curve in roofline.curves]) if roofline.curves else 4 * EDGE


def roofline_legend(roofline: Roofline) -> Sequence[Entry]:
    """What hollow points mean, where there are any."""
    if not any(point.is_predicted for point in roofline.points):
        return []
    hollow = Line2D(
        [],
        [],
        color=MUTED,
        marker="o",
        markersize=MARKER,
        markerfacecolor="white",
        markeredgewidth=1.2,
        linestyle="none",
    )
    return [(hollow, "predicted, not measured")]
