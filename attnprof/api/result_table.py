"""`ResultTable` as `estimate` and `compare` return it: it prints, draws and saves itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from attnprof.core import result_table
from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.files import replace_file
from attnprof.report.outputs import Format

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMATS: dict[str, Format] = {
    ".html": "html",
    ".csv": "csv",
    ".json": "json",
    ".md": "markdown",
    ".png": "png",
    ".svg": "svg",
    ".pdf": "png",
}
"""The format of a file, by its suffix; a picture's path decides which kind of picture it is."""


class ResultTable(result_table.ResultTable):
    """The results of `attnprof.estimate` and `attnprof.compare`: one row per kernel and workload.

    `print(table)` shows the answer; a notebook shows it with charts. `to_pandas()` has the rows.
    Growth and crossover lengths of custom kernels are found when they are first shown or saved, by
    running their code on fake tensors in this process.
    """

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The results in a file that `save`, `--json` or an interrupted run wrote.

        Args:
            path: ends in `.json` or `.jsonl`.

        Raises:
            UsageError: when it cannot be read, or has no results.
        """
        from attnprof.report.saved import read_table

        return read_table(os.fspath(path), cls)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the results to a file, which is replaced at once or not at all.

        Args:
            path: its suffix decides what is written: `.html` a page, `.csv`, `.json` or `.md` the
                results, `.png`, `.svg` or `.pdf` a chart.

        Raises:
            UsageError: for another suffix.
            MeasurementError: when the file cannot be written.
        """
        from attnprof.report.formats import table_renderers

        target = Path(path)
        form = _FORMATS.get(target.suffix.lower())
        if form is None:
            raise UsageError("path", target, f"must end in {', '.join(_FORMATS)}")
        self.record_costs()
        content = table_renderers({"png": str(target) if form == "png" else None})[form](self)
        try:
            replace_file(target, content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise MeasurementError(f"{target} could not be written ({error.strerror})") from error

    def record_costs(self) -> None:
        """Keep what findings need of custom kernels, so that their code need not run again.

        The first time, that runs it at further lengths, when the results are shown or saved.
        Results that are read have it already.
        """
        from attnprof.analysis.recorded_costs import recorded_costs

        if not self.saved_costs:
            self.saved_costs = recorded_costs(self)

    def to_json(self, environment: Mapping[str, object] | None = None) -> str:
        """The JSON of the rows; of a run that has ended, with what findings need to be the same.

        Args:
            environment: processor, versions and settings of the run; that of the table if None.
        """
        if self.finished_at:
            self.record_costs()
        return super().to_json(environment)

    def plot(self, chart: str = "growth") -> Figure:
        """The chart as a Matplotlib figure, which a notebook shows.

        Args:
            chart: `growth`, costs against length; `breakdown`, the parts of the MACs; `roofline`,
                speed against arithmetic intensity.

        Raises:
            UsageError: for another name.
        """
        from attnprof.report.charts.canvas import settings
        from attnprof.report.charts.pictures import figure_of
        from attnprof.report.comparisons import compared_runs
        from attnprof.report.image_forms import read_chart
        from attnprof.report.run import Run

        self.record_costs()
        with settings("attnprof"):
            return figure_of(compared_runs([Run("", self)]), read_chart(chart))

    def __str__(self) -> str:
        """The answer as text, in 80 columns."""
        from attnprof.report.text import render_text

        self.record_costs()
        return render_text(self)

    def __repr__(self) -> str:
        """What it is, in one line."""
        kernels = dict.fromkeys(row.kernel for row in self.rows)
        rows = "1 row" if self.num_rows == 1 else f"{self.num_rows} rows"
        return f"<attnprof.ResultTable: {rows} of {', '.join(kernels) or 'no kernel'}>"

    def _repr_html_(self) -> str | None:
        """The answer with charts, for a notebook; None without a row, so that text is shown."""
        if not self.rows:
            return None
        from attnprof.report.notebook import render_fragment

        self.record_costs()
        return render_fragment(self)
