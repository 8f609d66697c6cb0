"""Runs of reports: what is compared, each with a name."""

from __future__ import annotations

from collections.abc import Iterable

from attnprof.analysis.comparisons import comparisons_of
from attnprof.report.run import Run


def compared_runs(runs: Iterable[Run]) -> list[Run]:
    """The runs; one of several settings or machines is as many runs."""
    return [
        Run(", ".join(filter(None, (run.name, part.name))), part.table)
        for run in runs
        for part in comparisons_of(run.table)
    ]
