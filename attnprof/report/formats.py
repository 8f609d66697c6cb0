"""The renderer of each output format of results; heavy modules are imported on use."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

from attnprof.core.result_table import ResultTable
from attnprof.report.outputs import Format, Renderer
from attnprof.report.run import Run


def renderers() -> Mapping[Format, Renderer[Sequence[Run]]]:
    """The renderer of each format, from one or several runs."""

    def csv(runs: Sequence[Run]) -> str:
        from attnprof.report.runs_csv import render_csv

        return render_csv(runs)

    def json(runs: Sequence[Run]) -> str:
        (run,) = runs
        return run.table.to_json()

    def markdown(runs: Sequence[Run]) -> str:
        from attnprof.report.markdown import render_runs_markdown

        return render_runs_markdown(runs)

    def png(runs: Sequence[Run]) -> bytes:
        (run,) = runs
        with _without_warnings_of("matplotlib"):
            from attnprof.report.chart import render_png

            return render_png(run.table)

    def html(runs: Sequence[Run]) -> str:
        from attnprof.report.page import render_page

        with _without_warnings_of("matplotlib"):
            return render_page(runs)

    return {"csv": csv, "json": json, "markdown": markdown, "png": png, "html": html}


def table_renderers() -> Mapping[Format, Renderer[ResultTable]]:
    """The renderer of each format, from the table of one run."""
    return {form: _of_table(render) for form, render in renderers().items()}


def _of_table(render: Renderer[Sequence[Run]]) -> Renderer[ResultTable]:
    return lambda table: render([Run("", table)])


@contextmanager
def _without_warnings_of(package: str) -> Generator[None]:
    """Silences warnings of a package, such as those of Matplotlib about its cache folder."""
    log = logging.getLogger(package)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
