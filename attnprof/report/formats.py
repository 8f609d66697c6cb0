"""The renderer of each output format of a result table; heavy modules are imported on use."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TypedDict

from attnprof.core.result_table import ResultTable
from attnprof.report.image_forms import ImageForm, read_chart, read_image_form
from attnprof.report.outputs import Format, Renderer
from attnprof.report.run import Run


class PictureOptions(TypedDict, total=False):
    """The options that decide what pictures are."""

    png: str | None
    svg: str | None
    chart: str | None


def renderers(options: PictureOptions) -> Mapping[Format, Renderer[ResultTable]]:
    """The renderer of each format.

    Args:
        options: paths of pictures, by whose suffixes their formats go, and what charts show.

    Raises:
        UsageError: for a suffix or a chart that is unknown.
    """
    chart = read_chart(options.get("chart"))
    png_form = read_image_form("png", options.get("png"))
    svg_form = read_image_form("svg", options.get("svg"))

    def markdown(table: ResultTable) -> str:
        is_measured = table.environment is not None
        from attnprof.report.columns import COMPARE_COLUMNS, ESTIMATE_COLUMNS
        from attnprof.report.markdown import render_markdown

        return render_markdown(table, COMPARE_COLUMNS if is_measured else ESTIMATE_COLUMNS)

    def picture(table: ResultTable, form: ImageForm) -> bytes:
        with without_warnings_of("matplotlib"):
            from attnprof.report.charts import render_chart

            return render_chart([Run("", table)], form, chart)

    return {
        "csv": ResultTable.to_csv,
        "json": ResultTable.to_json,
        "markdown": markdown,
        "png": partial(picture, form=png_form),
        "svg": partial(picture, form=svg_form),
    }


@contextmanager
def without_warnings_of(package: str) -> Generator[None]:
    """Silences warnings of a package, such as those of Matplotlib about its cache folder."""
    log = logging.getLogger(package)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
