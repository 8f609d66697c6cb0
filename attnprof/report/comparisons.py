"""Runs of reports: what is compared, each with a name."""

from __future__ import annotations

from collections.abc import Sequence

from attnprof.analysis.comparisons import comparisons_of
from attnprof.report.run import Run


def compared_runs(runs: Sequence[Run]) -> list[Run]:
    """The runs; one of several settings or machines is as many runs."""
    parts = [(run.name, part) for run in runs for part in comparisons_of(run.table)]
    return [
        Run(
            ", ".join(filter(None, (name, part.name))),
            part.table,
            is_setting=len(runs) == 1 and len(parts) > 1,
        )
        for name, part in parts
    ]
