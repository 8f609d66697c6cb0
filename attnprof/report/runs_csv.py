"""CSV of one or several runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from attnprof.core.result_table import COLUMNS
from attnprof.report.run import Run


def render_csv(runs: Sequence[Run]) -> str:
    """The rows of all runs as CSV; of several runs, with their names in a last column `run`."""
    if len(runs) == 1:
        return runs[0].table.to_csv()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "run"])
    for run in runs:
        writer.writerows([*run.table.cells(row).values(), run.name] for row in run.table.rows)
    return text.getvalue()
