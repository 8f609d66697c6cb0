"""The renderer of each output format of a result table; heavy modules are imported on use."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from attnprof.core.result_table import ResultTable
from attnprof.report.outputs import Format, Renderer


def renderers() -> Mapping[Format, Renderer[ResultTable]]:
    """The renderer of each format."""

    def markdown(table: ResultTable) -> str:
        is_measured = table.environment is not None
        from attnprof.report.columns import COMPARE_COLUMNS, ESTIMATE_COLUMNS
        from attnprof.report.markdown import render_markdown

        return render_markdown(table, COMPARE_COLUMNS if is_measured else ESTIMATE_COLUMNS)

    def png(table: ResultTable) -> bytes:
        with _without_warnings_of("matplotlib"):
            from attnprof.report.chart import render_png

            return render_png(table)

    def html(table: ResultTable) -> str:
        with _without_warnings_of("matplotlib"):
            from attnprof.report.page import render_page
            from attnprof.report.run import Run

            return render_page([Run("", table)])

    return {
        "csv": ResultTable.to_csv,
        "json": ResultTable.to_json,
        "markdown": markdown,
        "png": png,
        "html": html,
    }


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
