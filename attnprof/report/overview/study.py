"""The answer of a study: for each of its settings what is fastest, and costs by length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from attnprof.report.overview import overview_of
from attnprof.report.overview.model import Overview
from attnprof.report.run import Run

_SENTENCES = 2
"""Sentences of a setting's verdict; a study has many settings."""


@dataclass(frozen=True, slots=True)
class SettingOverview:
    """One setting of a study: its name, and the first part of its overview."""

    name: str
    overview: Overview


def study_overviews(runs: Sequence[Run], width: int) -> list[SettingOverview]:
    """The overview of each setting, without the costs at its longest length.

    Args:
        runs: the settings, see `compared_runs`; each has a row or more.
        width: characters that a line of its tables may have.
    """
    overviews = [(run.name, overview_of(run.table, width)) for run in runs]
    return [
        SettingOverview(
            name,
            replace(
                overview,
                verdict=overview.verdict[:_SENTENCES],
                tables=overview.tables[:1],
                notes=(),
            ),
        )
        for name, overview in overviews
    ]
