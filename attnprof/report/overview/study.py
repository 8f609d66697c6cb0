"""The answer of a study: for each of its settings what is fastest, and costs by length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from attnprof.report.columns import BELOW_USEFUL
from attnprof.report.overview import overview_of
from attnprof.report.overview.model import Overview
from attnprof.report.run import Run

_SENTENCES = 2
"""Sentences of a setting's verdict; a study has many settings."""


@dataclass(frozen=True, slots=True)
class SettingOverview:
    """One setting of a study: its name, and the first part of its overview.

    Attributes:
        name: of the setting.
        overview: its first part.
        left_out: how many sentences and notes the whole overview has beside it.
    """

    name: str
    overview: Overview
    left_out: int


def study_overviews(runs: Sequence[Run], width: int) -> list[SettingOverview]:
    """The overview of each setting, without the costs at its longest length.

    Args:
        runs: the settings, see `compared_runs`; each has a row or more.
        width: characters that a line of its tables may have.
    """
    return [_first_part(run.name, overview_of(run.table, width)) for run in runs]


def _first_part(name: str, whole: Overview) -> SettingOverview:
    tables = whole.tables[:1]
    marked = (cell for table in tables for row in table.rows for cell in row[1:])
    has_marks = any(BELOW_USEFUL in cell for cell in marked)
    notes = tuple(note for note in whole.notes if has_marks and note.startswith(BELOW_USEFUL))
    verdict = whole.verdict[:_SENTENCES]
    left_out = len(whole.verdict) + len(whole.notes) - len(verdict) - len(notes)
    part = replace(whole, verdict=verdict, tables=tables, notes=notes)
    return SettingOverview(name, part, left_out)
