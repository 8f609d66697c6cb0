"""Charts as one SVG for each panel, for a page.

An SVG has a `viewBox` and no size of its own. Text and axes have the page's colour, so that they
can be read in light and in dark; hollow points are filled with `--chart-background`. Each point is
an element of class `point` with what it stands for in `data-kernel`, `data-seq-len`,
`data-quantity` and `data-value`, and in words in a `<title>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnprof.core.units import format_count
from attnprof.report.charts.bars import bars_height, draw_bars, names_width, names_width_of
from attnprof.report.charts.breakdown import Breakdown, breakdowns_of
from attnprof.report.charts.breakdown_figure import has_one_length, parts_legend
from attnprof.report.charts.breakdown_panel import (
    describe_growth,
    draw_breakdown,
    draw_breakdown_bars,
)
from attnprof.report.charts.canvas import LINE_INCHES, new_figure, saved, settings
from attnprof.report.charts.curves import Growth, Panel, growth_of
from attnprof.report.charts.frame import BELOW, EDGE, LEGEND, NUMBERS, Place, add_axes
from attnprof.report.charts.growth_figure import names_room
from attnprof.report.charts.growth_panel import AXIS_TITLES, draw_growth
from attnprof.report.charts.legend import add_legend, growth_legend
from attnprof.report.charts.page_svg import for_page
from attnprof.report.charts.tags import Tags
from attnprof.report.image_forms import Chart
from attnprof.report.run import Run

_WIDTH, _HEIGHT = 6.6, 3.9
_PARTS_HEIGHT = 2.9
_BELOW_BARS = 0.32
_TOTALS = 0.9
"""Right of the bars of a breakdown, for the MACs of each."""

_TOP = 0.12


@dataclass(frozen=True, slots=True)
class PanelSvg:
    """One panel of a chart.

    Attributes:
        title: such as `Time of one call`.
        quantity: the column of the results that it shows.
        svg: an `<svg>` element.
    """

    title: str
    quantity: str
    svg: str


def panel_svgs(runs: Sequence[Run], chart: Chart = "growth") -> list[PanelSvg]:
    """The panels of a chart of one or several runs; the same text for the same results.

    Args:
        runs: their results; the names of several are part of the labels.
        chart: `growth`, costs against length; `breakdown`, the parts of the MACs, a panel for each
            kernel or, at one length, one for all.
    """
    if chart == "growth":
        growth = growth_of(runs)
        return [_growth_svg(panel, growth) for panel in growth.panels]
    breakdowns, _ = breakdowns_of(runs)
    if has_one_length(breakdowns):
        return [_parts_bars_svg(breakdowns)] if breakdowns else []
    return [_parts_svg(breakdown, index) for index, breakdown in enumerate(breakdowns)]


def _growth_svg(panel: Panel, growth: Growth) -> PanelSvg:
    name, tags = panel.quantity.name, Tags()
    with settings(name):
        if growth.is_bars:
            height = bars_height(len(panel.curves)) + _BELOW_BARS
            figure, axes = _axes(height, EDGE + names_width([panel]), 2 * EDGE, _BELOW_BARS)
            draw_bars(axes, panel, tags, has_names=True)
        else:
            height = max(_HEIGHT, len(panel.curves) * LINE_INCHES + BELOW)
            figure, axes = _axes(height, NUMBERS, names_room([panel]), BELOW)
            draw_growth(axes, panel, growth, tags)
            axes.set_xlabel(AXIS_TITLES[growth.axis], labelpad=2)
        add_legend(figure, growth_legend(growth, [panel]))
        svg = saved(figure, "svg").decode()
    return PanelSvg(panel.quantity.title, name, for_page(svg, name, _summary(panel), tags))


def _parts_svg(breakdown: Breakdown, index: int) -> PanelSvg:
    name, tags = f"parts-{index}", Tags()
    with settings(name):
        figure, axes = _axes(_PARTS_HEIGHT, NUMBERS, 4 * EDGE, BELOW)
        draw_breakdown(axes, breakdown, tags)
        axes.set_xlabel(AXIS_TITLES["seq_len"], labelpad=2)
        add_legend(figure, parts_legend([breakdown]))
        svg = saved(figure, "svg").decode()
    title = f"{breakdown.label}: {describe_growth(breakdown)}"
    return PanelSvg(title, "executed_macs", for_page(svg, name, title, tags))


def _parts_bars_svg(breakdowns: Sequence[Breakdown]) -> PanelSvg:
    tags, names = Tags(), EDGE + names_width_of([one.label for one in breakdowns])
    with settings("parts"):
        height = bars_height(len(breakdowns)) + _BELOW_BARS
        figure, axes = _axes(height, names, _TOTALS, _BELOW_BARS)
        draw_breakdown_bars(axes, breakdowns, tags)
        add_legend(figure, parts_legend(breakdowns))
        svg = saved(figure, "svg").decode()
    title = "Share of executed MACs"
    return PanelSvg(title, "executed_macs", for_page(svg, "parts", title, tags))


def _axes(height: float, left: float, right: float, below: float) -> tuple[Figure, Axes]:
    """A figure with a legend's room below its axes, in inches."""
    figure = new_figure(_WIDTH, height + _TOP + LEGEND)
    bottom = LEGEND + below
    return figure, add_axes(figure, Place(left, bottom, _WIDTH - left - right, height - below))


def _summary(panel: Panel) -> str:
    """A panel for those who cannot see it: the last value of each curve."""
    ends = [
        f"{curve.label}: {panel.quantity.form(curve.points[-1].value)} "
        f"at {format_count(curve.points[-1].seq_len)} tokens"
        for curve in panel.curves
        if curve.points
    ]
    return f"{panel.quantity.title}. {'; '.join(ends)}"
