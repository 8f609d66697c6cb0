"""The picture of the growth chart of a study: the panels of each setting, one below the other."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from attnprof.report.charts.curves import Growth
from attnprof.report.charts.frame import WIDTH, Place, framed
from attnprof.report.charts.growth_figure import draw_panels, panels_height
from attnprof.report.charts.legend import add_legend, growth_legend, legend_height
from attnprof.report.charts.tags import Tags

_GAP = 0.15
"""Between two settings, in inches."""


def study_figure(
    settings: Sequence[tuple[str, Growth]], heading: str, setting: str, tags: Tags
) -> Figure:
    """The growth chart of each setting, in the order of the settings.

    Args:
        settings: the name of each, and its chart.
        heading: what is shown.
        setting: what all of them share.
        tags: get the values of the points.
    """
    shown = [(name, growth) for name, growth in settings if growth.panels]
    left_out = [f"{name}: {'; '.join(one.left_out)}" for name, one in settings if one.left_out]
    known = [entry for _, one in shown for entry in growth_legend(one, one.panels)]
    entries = list({text: (artist, text) for artist, text in known}.values())
    heights = [panels_height(growth) + _GAP for _, growth in shown]
    frame = framed(
        heading,
        setting,
        f"not shown: {', '.join(left_out)}" if left_out else "",
        legend_height=legend_height(entries, WIDTH),
        panels_height=sum(heights),
    )
    top = frame.area.bottom + frame.area.height
    for (name, growth), height in zip(shown, heights, strict=True):
        top -= height
        place = Place(frame.area.left, top, frame.area.width, height - _GAP)
        draw_panels(frame.figure, growth, place, tags, f"{name}: ")
    add_legend(frame.figure, entries, frame.legend)
    return frame.figure
