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

from attnprof.core.units import format_tokens
from attnprof.report.charts.axis import figure_of_axes
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
from attnprof.report.charts.frame import BELOW, EDGE, NUMBERS, Place, add_axes
from attnprof.report.charts.growth_figure import labels_of
from attnprof.report.charts.growth_panel import axis_title, draw_growth
from attnprof.report.charts.legend import Entry, add_legend, growth_legend, legend_height
from attnprof.report.charts.marks import names_room
from attnprof.report.charts.page_svg import for_page
from attnprof.report.charts.roofline import Roofline, roofline_of
from attnprof.report.charts.roofline_figure import TITLE, roofline_legend, roofline_names_room
from attnprof.report.charts.roofline_panel import (
    QUANTITY,
    X_TITLE,
    describe_point,
    draw_roofline,
)
from attnprof.report.charts.tags import Tags
from attnprof.report.image_forms import Chart
from attnprof.report.run import Run

_WIDTH, _HEIGHT, _PARTS_HEIGHT = 5.4, 3.0, 1.9
"""Of a panel, and of its axes, in inches."""

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
        runs: their results; the names of several are part of the labels. Settings of a study have
            panels of their own.
        chart: `growth`, costs against length; `breakdown`, the parts of the MACs, a panel for each
            kernel or, at one length, one for all; `roofline`, speed against intensity, without a
            panel where no rates of a machine are known.
    """
    if chart == "roofline":
        roofline = roofline_of(runs)
        return [_roofline_svg(roofline)] if roofline.curves else []
    if chart == "growth" and runs and runs[0].is_setting:
        return [
            panel
            for index, run in enumerate(runs, 1)
            for panel in _growth_svgs(growth_of([Run("", run.table)]), f"{run.name}: ", f"-{index}")
        ]
    if chart == "growth":
        return _growth_svgs(growth_of(runs))
    breakdowns, _ = breakdowns_of(runs)
    if has_one_length(breakdowns):
        return [_parts_bars_svg(breakdowns)] if breakdowns else []
    return [_parts_svg(breakdown, index) for index, breakdown in enumerate(breakdowns)]


def _growth_svgs(growth: Growth, prefix: str = "", suffix: str = "") -> list[PanelSvg]:
    """The panels, with what comes before their titles and after their names."""
    return [_growth_svg(panel, growth, prefix, suffix) for panel in growth.panels]


def _growth_svg(panel: Panel, growth: Growth, prefix: str, suffix: str) -> PanelSvg:
    name, tags = f"{panel.quantity.name}{suffix}", Tags()
    with settings(name):
        entries = growth_legend(growth, [panel])
        if growth.is_bars:
            height = bars_height(len(panel.curves))
            left, right = EDGE + names_width([panel]), 2 * EDGE
            axes = _axes(height, left, right, _BELOW_BARS, entries)
            draw_bars(axes, panel, tags, has_names=True)
        else:
            height = max(_HEIGHT, len(panel.curves) * LINE_INCHES)
            axes = _axes(height, NUMBERS, names_room(labels_of([panel])), BELOW, entries)
            draw_growth(axes, panel, growth, tags)
            title = axis_title(growth.axis, is_decoding=growth.is_decoding)
            axes.set_xlabel(title, labelpad=2)
        svg = saved(figure_of_axes(axes), "svg").decode()
    title = f"{prefix}{panel.quantity.title}"
    return PanelSvg(title, panel.quantity.name, for_page(svg, name, _summary(panel), tags))


def _roofline_svg(roofline: Roofline) -> PanelSvg:
    tags = Tags()
    with settings("roofline"):
        height = max(_HEIGHT, len(roofline.curves) * LINE_INCHES)
        names = roofline_names_room(roofline)
        axes = _axes(height, NUMBERS, names, BELOW, roofline_legend(roofline))
        draw_roofline(axes, roofline, tags)
        axes.set_xlabel(X_TITLE, labelpad=2)
        svg = saved(figure_of_axes(axes), "svg").decode()
    ends = [describe_point(curve, curve.points[-1]) for curve in roofline.curves]
    summary = f"{TITLE}. {'; '.join(ends)}"
    return PanelSvg(TITLE, QUANTITY, for_page(svg, "roofline", summary, tags))


def _parts_svg(breakdown: Breakdown, index: int) -> PanelSvg:
    name, tags = f"parts-{index}", Tags()
    with settings(name):
        entries = parts_legend([breakdown])
        axes = _axes(_PARTS_HEIGHT, NUMBERS, 4 * EDGE, BELOW, entries)
        draw_breakdown(axes, breakdown, tags)
        axes.set_xlabel(axis_title("seq_len", is_decoding=breakdown.is_decoding), labelpad=2)
        svg = saved(figure_of_axes(axes), "svg").decode()
    growth = describe_growth(breakdown)
    title = f"{breakdown.label}: {growth}" if growth else breakdown.label
    return PanelSvg(title, "executed_macs", for_page(svg, name, title, tags))


def _parts_bars_svg(breakdowns: Sequence[Breakdown]) -> PanelSvg:
    tags = Tags()
    with settings("parts"):
        names = EDGE + names_width_of([one.label for one in breakdowns])
        height = bars_height(len(breakdowns))
        axes = _axes(height, names, _TOTALS, _BELOW_BARS, parts_legend(breakdowns))
        draw_breakdown_bars(axes, breakdowns, tags)
        svg = saved(figure_of_axes(axes), "svg").decode()
    title = "Share of executed MACs"
    return PanelSvg(title, "executed_macs", for_page(svg, "parts", title, tags))


def _axes(height: float, left: float, right: float, below: float, entries: Sequence[Entry]) -> Axes:
    """Axes of some height, with room around them in inches, and the legend below."""
    bottom = legend_height(entries, _WIDTH) + below
    figure = new_figure(_WIDTH, height + _TOP + bottom)
    add_legend(figure, entries)
    return add_axes(figure, Place(left, bottom, _WIDTH - left - right, height))


def _summary(panel: Panel) -> str:
    """A panel for those who cannot see it: the last value of each curve."""
    ends = [
        f"{curve.label}: {panel.quantity.form(curve.points[-1].value)} "
        f"at {format_tokens(curve.points[-1].seq_len)}"
        for curve in panel.curves
        if curve.points
    ]
    return f"{panel.quantity.title}. {'; '.join(ends)}"
