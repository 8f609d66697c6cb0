"""The renderer of each output format of results; heavy modules are imported on use."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypedDict

from attnprof.core.result_table import ResultTable
from attnprof.report.comparisons import compared_runs
from attnprof.report.image_forms import ImageForm, read_chart, read_image_form
from attnprof.report.outputs import Format, Renderer
from attnprof.report.run import Run


class PictureOptions(TypedDict, total=False):
    """The options that decide what pictures are."""

    png: str | None
    svg: str | None
    chart: str | None


def renderers(options: PictureOptions) -> Mapping[Format, Renderer[Sequence[Run]]]:
    """The renderer of each format, from one or several runs.

    Args:
        options: paths of pictures, by whose suffixes their formats go, and what charts show.

    Raises:
        UsageError: for a suffix or a chart that is unknown.
    """
    chart = read_chart(options.get("chart"))
    png_form = read_image_form("png", options.get("png"))
    svg_form = read_image_form("svg", options.get("svg"))

    def csv(runs: Sequence[Run]) -> str:
        from attnprof.report.runs_csv import render_csv

        return render_csv(runs)

    def json(runs: Sequence[Run]) -> str:
        (run,) = runs
        return run.table.to_json()

    def markdown(runs: Sequence[Run]) -> str:
        from attnprof.report.runs_markdown import render_runs_markdown

        return render_runs_markdown(compared_runs(runs))

    def picture(runs: Sequence[Run], form: ImageForm) -> bytes:
        with without_warnings_of("matplotlib"):
            from attnprof.report.charts import render_chart

            return render_chart(compared_runs(runs), form, chart)

    def html(runs: Sequence[Run]) -> str:
        with without_warnings_of("matplotlib"):
            from attnprof.report.page import render_page

            return render_page(compared_runs(runs))

    return {
        "csv": csv,
        "json": json,
        "markdown": markdown,
        "png": partial(picture, form=png_form),
        "svg": partial(picture, form=svg_form),
        "html": html,
    }


def table_renderers(options: PictureOptions) -> Mapping[Format, Renderer[ResultTable]]:
    """The renderer of each format, from the table of one run; see `renderers`."""
    return {form: _of_table(render) for form, render in renderers(options).items()}


def _of_table(render: Renderer[Sequence[Run]]) -> Renderer[ResultTable]:
    return lambda table: render([Run("", table)])


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
