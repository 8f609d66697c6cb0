"""Results in a notebook: a fragment of HTML that needs nothing else, without a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnprof.report.charts import panel_svgs
from attnprof.report.comparisons import compared_runs
from attnprof.report.overview import overview_of
from attnprof.report.overview.model import Overview
from attnprof.report.run import Run

if TYPE_CHECKING:
    from attnprof.core.result_table import ResultTable

_TEMPLATE = "results.html.jinja"
_WIDTH = 120
"""Characters of a table."""


def render_fragment(table: ResultTable) -> str:
    """The answer of a table as HTML: the verdict, the tables, the charts.

    Args:
        table: with one row or more.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader(__name__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    runs = compared_runs([Run("", table)])
    charts = [(panel.title, Markup(panel.svg)) for panel in panel_svgs(runs)]
    parts = [_part(run) for run in runs]
    return environment.get_template(_TEMPLATE).render(parts=parts, charts=charts)


def _part(run: Run) -> tuple[str, Overview, list[str]]:
    """The name of a run, its answer, and the lines below it."""
    overview = overview_of(run.table, _WIDTH)
    lines = (overview.undecided, overview.noise, *overview.notes)
    return run.name, overview, [line for line in lines if line]
