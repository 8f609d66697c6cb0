"""Refuses to resume the results of another part of a study, whose rows would be dropped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attnprof.core.errors import UsageError
from attnprof.core.record_lines import identity_of
from attnprof.core.records import CASE
from attnprof.core.result_table import ResultTable
from attnprof.core.study import StudyPart
from attnprof.core.typed_json import UnexpectedError, read_as
from attnprof.core.units import counted
from attnprof.core.workload import Case
from attnprof.report.journal import identity_of_line, read_lines
from attnprof.report.journal_format import HEADER
from attnprof.report.saved import read_table


def check_resumed_part(
    json_path: str, journal: Path, study: StudyPart | None, cases: Iterable[Case]
) -> None:
    """Refuse files of which a row would be dropped, where they or this run are a part of a study.

    Args:
        json_path: the results.
        journal: their records; without any, the results themselves are read.
        study: of this run; None where it is of none.
        cases: of this run.

    Raises:
        UsageError: says what the files have.
    """
    earlier, known = _of_records(journal) if journal.exists() else _of_results(json_path)
    if not (_is_part(earlier) or _is_part(study)):
        return
    dropped = known - {_key(case) for case in cases}
    if dropped:
        own = (study.name if study else "") or "this run"
        raise UsageError(
            "resume",
            json_path,
            f"has {_described(earlier, study)}; {own} would drop "
            f"{counted(len(dropped), 'row')}; name another file with --json",
        )


def _of_records(path: Path) -> tuple[StudyPart | None, set[str]]:
    """The study of the last run in a journal, and the cases that it has rows of."""
    lines, _, _ = read_lines(path)
    headers = [line for line in lines if HEADER in line]
    study = _study(headers[-1]) if headers else None
    return study, {identity_of_line(line) for line in lines if line.get("quantity") == CASE}


def _study(header: Mapping[str, Any]) -> StudyPart | None:
    """The study in a header; None where there is none, or one that cannot be read."""
    known = header.get("study")
    with suppress(UnexpectedError):
        return None if known is None else read_as(StudyPart, known, "study")
    return None


def _of_results(path: str) -> tuple[StudyPart | None, set[str]]:
    """The study of saved results and their cases; none where they cannot be read."""
    with suppress(UsageError):
        table = read_table(path, ResultTable)
        return table.study, {_key(Case(row.kernel, row.workload)) for row in table.rows}
    return None, set()


def _key(case: Case) -> str:
    return json.dumps(identity_of(case.kernel, case.workload))


def _is_part(study: StudyPart | None) -> bool:
    return study is not None and study.is_part


def _described(earlier: StudyPart | None, study: StudyPart | None) -> str:
    """What the files have, such as `part 1 of 3 of this study`."""
    if earlier is None:
        return "rows of no study"
    is_same = study is not None and study.digest == earlier.digest
    whose = f"{'this' if is_same else 'another'} study"
    return f"{earlier.name or 'all'} of {whose}"
