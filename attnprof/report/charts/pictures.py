"""Charts as the bytes of a picture."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from attnprof.report.charts.breakdown import breakdowns_of
from attnprof.report.charts.breakdown_figure import breakdown_figure
from attnprof.report.charts.canvas import saved, settings
from attnprof.report.charts.curves import growth_of
from attnprof.report.charts.growth_figure import growth_figure
from attnprof.report.charts.headings import (
    breakdown_heading,
    growth_heading,
    roofline_heading,
    setting_of,
)
from attnprof.report.charts.roofline import roofline_of
from attnprof.report.charts.roofline_figure import roofline_figure
from attnprof.report.charts.study_figure import study_figure
from attnprof.report.charts.tags import Tags
from attnprof.report.image_forms import Chart, ImageForm
from attnprof.report.run import Run


def render_chart(runs: Sequence[Run], form: ImageForm, chart: Chart = "growth") -> bytes:
    """A chart of one or several runs; the same bytes for the same results.

    Args:
        runs: their results; the names of several are part of the labels.
        form: format of the picture.
        chart: `growth`, costs against length; `breakdown`, the parts of the MACs; `roofline`,
            speed against intensity.
    """
    with settings("attnprof"):
        return saved(figure_of(runs, chart), form)


def figure_of(runs: Sequence[Run], chart: Chart = "growth") -> Figure:
    """The figure of a chart, inside `settings`."""
    setting = setting_of(runs)
    if chart == "growth" and runs[0].is_setting:
        each = [(run.name, growth_of([Run("", run.table)])) for run in runs]
        heading = growth_heading(runs, growth_of(runs))
        return study_figure(each, heading, setting, Tags())
    if chart == "growth":
        growth = growth_of(runs)
        return growth_figure(growth, growth_heading(runs, growth), setting, Tags())
    if chart == "roofline":
        return roofline_figure(roofline_of(runs), roofline_heading(runs), setting, Tags())
    breakdowns, unknown = breakdowns_of(runs)
    notes = f"parts not known: {', '.join(unknown)} (custom kernels)" if unknown else ""
    return breakdown_figure(breakdowns, breakdown_heading(runs), setting, notes, Tags())
