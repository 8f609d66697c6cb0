"""Results in a notebook: a fragment of HTML that needs nothing else, without a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnprof.report.charts import panel_svgs
from attnprof.report.overview import overview_of
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
    charts = [(panel.title, Markup(panel.svg)) for panel in panel_svgs([Run("", table)])]
    overview = overview_of(table, _WIDTH)
    remarks = [line for line in (overview.undecided, overview.noise, *overview.notes) if line]
    template = environment.get_template(_TEMPLATE)
    return template.render(overview=overview, remarks=remarks, charts=charts)
