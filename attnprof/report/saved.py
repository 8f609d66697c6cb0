"""Runs read back from the files that `compare` and `estimate` write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attnprof import kernels
from attnprof.analysis.comparisons import comparisons_of
from attnprof.core.errors import UsageError
from attnprof.core.records import INTERRUPTED, Record
from attnprof.core.result_table import ResultTable
from attnprof.core.results_json import check_environment, read_results
from attnprof.core.saved_costs import SavedCosts, costs_name
from attnprof.core.saved_workload import SavedWorkload, saved_workload
from attnprof.core.study import StudyPart
from attnprof.core.typed_json import UnexpectedError, parse_object, read_as
from attnprof.core.workload import Workload
from attnprof.report.joining import Part, join_parts
from attnprof.report.journal_format import FINISHED, HEADER, SCHEMA, RunFingerprint, read_line
from attnprof.report.run import Run
from attnprof.report.run_facts import names_of

_REMEDY = "write one with attnprof compare --json results.json"
_ARGUMENT = "results"

_Table = TypeVar("_Table", bound=ResultTable)


def read_runs(
    paths: Sequence[str],
    names: Sequence[str] = (),
    warn: Callable[[str], None] = lambda message: None,
) -> list[Run]:
    """The runs in files of results; several runs are named by what tells them apart.

    Args:
        paths: `.json` files, and `.jsonl` files of interrupted runs.
        names: of the files, in their order. Without them, names are chosen, and files of one study
            are one run.
        warn: called with what is missing or contradictory in the files of a study.

    Raises:
        UsageError: for the first file that cannot be read or has no results, and for names that
            are not as many as the files, or not different.
    """
    tables = [read_table(path, ResultTable) for path in paths]
    if names:
        _check_names(names, len(paths))
        return [Run(name, table) for name, table in zip(names, tables, strict=True)]
    joined = join_parts([Part(*known) for known in zip(paths, tables, strict=True)])
    for note in (note for study in joined for note in study.notes):
        warn(note)
    for study in joined:
        if not study.table.rows:
            _check_empty(study.path, is_alone=len(joined) == 1)
    tables, files = [study.table for study in joined], [study.path for study in joined]
    has_settings = any(len(comparisons_of(table)) > 1 for table in tables)
    chosen = names_of(tables, files, are_files=has_settings)
    return [Run(name, study.table) for name, study in zip(chosen, joined, strict=True)]


def read_table(path: str, new_table: Callable[[], _Table]) -> _Table:
    """The results in one file; user code is not imported for its custom kernels.

    Args:
        path: a `.json` file, or the `.jsonl` file of an interrupted run.
        new_table: makes the empty table that they are added to.

    Raises:
        UsageError: when the file cannot be read, or has no results.
    """
    readers = {".json": _read_json, ".jsonl": _read_journal}
    read = readers.get(Path(path).suffix)
    if read is None:
        raise UsageError(_ARGUMENT, path, f"must end in .json or .jsonl; {_REMEDY}")
    text = _content(path)
    try:
        table = read(text, new_table())
    except UnexpectedError as error:
        reason = f"{error}" if str(error).startswith("is ") else f"has no results ({error})"
        raise UsageError(_ARGUMENT, path, f"{reason}; {_REMEDY}") from error
    if not table.rows and table.study is None:
        raise UsageError(_ARGUMENT, path, f"has no finished rows; {_REMEDY}")
    table.saved_costs = {
        (name := costs_name(row.kernel, row.setting)): table.saved_costs.get(name) or SavedCosts()
        for row in table.rows
        if row.kernel not in kernels.names()
    }
    return table


def _check_empty(path: str, *, is_alone: bool) -> None:
    """Refuse results without rows, but for those of a part of a study that has no cases.

    Only the records of a run are written before it has a row.
    """
    if Path(path).suffix == ".jsonl":
        raise UsageError(_ARGUMENT, path, f"has no finished rows; {_REMEDY}")
    if not is_alone:
        expected = "is a part of a study, without cases; name it with the other parts only"
        raise UsageError(_ARGUMENT, path, expected)


def _check_names(names: Sequence[str], count: int) -> None:
    if len(names) != count:
        files = "1 file" if count == 1 else f"{count} files"
        raise UsageError("name", " ".join(names), f"must be as many as there are files: {files}")
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UsageError("name", repeated, "must differ from the other names")


def _content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(_ARGUMENT, path, f"no such file; {_REMEDY}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(_ARGUMENT, path, f"cannot be read ({reason}); {_REMEDY}") from error
    except ValueError as error:  # not UTF-8, or a path that contains a zero byte
        raise UsageError(_ARGUMENT, path, f"is not text in UTF-8; {_REMEDY}") from error


def _read_json(text: str, table: _Table) -> _Table:
    return read_results(parse_object(text), table)


def _read_journal(text: str, table: _Table) -> _Table:
    """The records below the last header, and those of earlier ones that a resumed run kept.

    An incomplete last line is what a killed run leaves behind.

    Raises:
        UnexpectedError: for the first damaged line, and for a journal of another version.
    """
    lines = [_line(line, number) for number, line in enumerate(text.split("\n")[:-1], 1)]
    if not lines or HEADER not in lines[0]:
        raise UnexpectedError("is not a journal of results")
    headers = [line for line in lines if HEADER in line]
    if any(header[HEADER] != SCHEMA for header in headers):
        raise UnexpectedError("is a journal of another version of attnprof")
    last = headers[-1]
    check_environment(last["machine"], "machine")
    host = read_as(str, last.get("host", ""), "host")
    table.environment = {**last["machine"], "host": host} if host else last["machine"]
    study = last.get("study")
    table.study = None if study is None else read_as(StudyPart, study, "study")
    for record in _current_records(lines, RunFingerprint(last["machine"], last["sources"])):
        table.add(record)
    table.close("error", INTERRUPTED)
    return table


def _line(text: str, number: int) -> dict[str, Any]:
    line = read_line(text.encode())
    if line is None:
        raise UnexpectedError(f"is damaged in line {number}")
    return line


def _current_records(lines: Iterable[Mapping[str, Any]], run: RunFingerprint) -> list[Record]:
    """The last record of each quantity, without those that another machine or source measured."""
    header: Mapping[str, Any] = {}
    records: dict[tuple[str, Workload, str], Record] = {}
    workloads: dict[str, Workload] = {}
    for number, line in enumerate(lines, 1):
        if HEADER in line:
            header = line
        elif FINISHED not in line and run.matches(header, line["kernel"]):
            workload = _workload(line, number, workloads)
            kernel, quantity = line["kernel"], line["quantity"]
            # A record that is measured again takes the place behind those that were kept.
            records.pop((kernel, workload, quantity), None)
            records[kernel, workload, quantity] = Record(
                kernel, workload, quantity, line["value"], line["status"], line["detail"]
            )
    return list(records.values())


def _workload(line: Mapping[str, Any], number: int, known: dict[str, Workload]) -> Workload:
    """The workload of a record; each is read once."""
    identity = {name: line.get(name) for name in SavedWorkload.__dataclass_fields__}
    key = json.dumps(identity)
    if key not in known:
        path = f"line {number}"
        known[key] = saved_workload(read_as(SavedWorkload, identity, path), path)
    return known[key]
