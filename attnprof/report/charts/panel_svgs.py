"""Charts as one SVG for each panel, for a page.

An SVG has a `viewBox` and no size of its own. Text and axes have the page's colour, so that they
can be read in light and in dark; hollow points are filled with `--chart-background`. Each point is
an element of class `point` with what it stands for in `data-kernel`, `data-seq-len`,
`data-quantity` and `data-value`, and in words in a `<title>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnprof.core.units import format_count
from attnprof.report.charts.bars import bars_height, draw_bars, names_width
from attnprof.report.charts.canvas import new_figure, saved, settings
from attnprof.report.charts.curves import Curve, Growth, Panel, growth_of
from attnprof.report.charts.figure import Place, add_axes, add_legend, names_room
from attnprof.report.charts.growth_panel import LINE_INCHES, draw_growth
from attnprof.report.charts.page_svg import for_page
from attnprof.report.charts.tags import Tags
from attnprof.report.image_forms import Chart
from attnprof.report.run import Run

_WIDTH, _HEIGHT = 6.6, 3.9
_EDGE, _NUMBERS, _BELOW, _LEGEND = 0.1, 0.72, 0.46, 0.3


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
        chart: `growth`, costs against length; `breakdown`, the parts of the MACs.
    """
    growth = growth_of(runs)
    return [_panel_svg(panel, growth) for panel in growth.panels]


def _panel_svg(panel: Panel, growth: Growth) -> PanelSvg:
    tags = Tags()
    name = panel.quantity.name
    with settings(f"attnprof-{name}"):
        if len(growth.values) < 2:
            height = bars_height(len(panel.curves)) + _BELOW + _LEGEND + _EDGE
            figure = new_figure(_WIDTH, height)
            left = _EDGE + names_width(figure, [panel])
        else:
            height = max(_HEIGHT, len(panel.curves) * LINE_INCHES + _BELOW + _LEGEND + _EDGE)
            figure = new_figure(_WIDTH, height)
            left = _NUMBERS
        right = 2 * _EDGE if len(growth.values) < 2 else names_room(figure, [panel])
        bottom = _LEGEND + _BELOW
        place = Place(left, bottom, _WIDTH - left - right, height - bottom - _EDGE)
        axes = add_axes(figure, place)
        if len(growth.values) < 2:
            draw_bars(axes, panel, tags, has_names=True)
        else:
            draw_growth(axes, panel, growth, tags)
        add_legend(figure, [panel], is_bars=len(growth.values) < 2, y=0)
        svg = saved(figure, "svg").decode()
    return PanelSvg(
        panel.quantity.title, name, for_page(svg, name=name, title=_summary(panel), tags=tags)
    )


def _summary(panel: Panel) -> str:
    """A panel for those who cannot see it: the last value of each curve."""
    ends = "; ".join(map(_end, (curve for curve in panel.curves if curve.points), [panel] * 99))
    return f"{panel.quantity.title}. {ends}"


def _end(curve: Curve, panel: Panel) -> str:
    point = curve.points[-1]
    at = format_count(point.seq_len)
    return f"{curve.label}: {panel.quantity.form(point.value)} at {at} tokens"
