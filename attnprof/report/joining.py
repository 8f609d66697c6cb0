"""Joins the parts of a study: files of results that shards of it, or runs of it, have written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from attnprof.core.machine_names import kind_of, numbered
from attnprof.core.records import COLUMN_UNITS, MACHINE, Record
from attnprof.core.result_columns import ESTIMATED
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.saved_costs import merged_costs
from attnprof.core.study import StudyPart
from attnprof.core.units import counted, format_count
from attnprof.core.workload import Case

_FACTS = ("processor", "cores", "threads", "gpu", "python", "packages", "host")
"""What tells machines apart."""

_EXACT = tuple(
    name
    for name, unit in COLUMN_UNITS.items()
    if unit == "MAC" or name in ESTIMATED - {"intensity"}
)
"""Quantities that are the same on every machine."""

_SETTLED = ("ok", "unsupported", "skipped")
_SHOWN_CONFLICTS = 5
_Group = tuple[int, str]
"""Rows that are timed together, of one file: their length and their setting."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of results."""

    path: str
    table: ResultTable


@dataclass(frozen=True, slots=True)
class Joined:
    """The results of one study.

    Attributes:
        path: of its first file.
        table: of all of its files.
        notes: what is missing, twice there, or contradictory, a line each.
    """

    path: str
    table: ResultTable
    notes: tuple[str, ...] = ()


def join_parts(parts: Sequence[Part]) -> list[Joined]:
    """The results of each study, in the order of their first files; others stay as they are."""
    studies: dict[str, list[Part]] = {}
    for index, part in enumerate(parts):
        study = part.table.study
        studies.setdefault(str(index) if study is None else study.digest, []).append(part)
    return [_join(group) for group in studies.values()]


def _join(parts: Sequence[Part]) -> Joined:
    first = parts[0]
    if first.table.study is None:
        return Joined(first.path, first.table)
    if len(parts) == 1:
        return Joined(first.path, first.table, tuple(_missing(first.table.study, first.table)))
    chosen, num_duplicates = _chosen(parts)
    table = _table(parts, chosen)
    notes: list[str] = []
    if num_duplicates:
        notes.append(
            f"{counted(num_duplicates, 'case')} measured more than once: the last complete run of "
            "each is shown; --name keeps files apart"
        )
    notes += [*_other_versions(parts), *_other_counts(parts)]
    if table.study is not None:
        notes += _missing(table.study, table)
    return Joined(first.path, table, tuple(notes))


def _chosen(parts: Sequence[Part]) -> tuple[list[tuple[Part, Row]], int]:
    """One row for each case, with its file, and how many cases are in several files.

    Rows that were timed together come from one file, so that their speeds are of one run: from that
    which has most of them, then from that which ended last.
    """
    by_group: dict[_Group, list[tuple[Part, list[Row]]]] = {}
    for part in parts:
        own: dict[_Group, list[Row]] = {}
        for row in part.table.rows:
            own.setdefault((row.workload.seq_len, row.setting), []).append(row)
        for group, members in own.items():
            by_group.setdefault(group, []).append((part, members))
    chosen: list[tuple[Part, Row]] = []
    num_duplicates = 0
    for group in sorted(by_group, key=partial(_order, _settings(parts))):
        known: dict[Case, tuple[Part, Row]] = {}
        repeated: set[Case] = set()
        for part, rows in sorted(by_group[group], key=_value, reverse=True):
            for row in rows:
                case = Case(row.kernel, row.workload)
                if case in known:
                    repeated.add(case)
                known.setdefault(case, (part, row))
        num_duplicates += len(repeated)
        chosen += known.values()
    return chosen, num_duplicates


def _settings(parts: Iterable[Part]) -> list[str]:
    """The settings of a study, in its order."""
    known = (name for part in parts if part.table.study for name in part.table.study.settings)
    rows = (row.setting for part in parts for row in part.table.rows)
    return list(dict.fromkeys((*known, *rows)))


def _order(settings: Sequence[str], group: _Group) -> tuple[int, int]:
    """By length, then by setting, as the study has them."""
    seq_len, setting = group
    return seq_len, settings.index(setting)


def _value(candidate: tuple[Part, Sequence[Row]]) -> tuple[int, int, str]:
    """The larger, the better: complete rows, rows, then the time when the run ended."""
    part, rows = candidate
    settled = sum(row.status in _SETTLED for row in rows)
    return settled, len(rows), part.table.finished_at


def _table(parts: Sequence[Part], chosen: Sequence[tuple[Part, Row]]) -> ResultTable:
    """The rows in one table, which has the type of the first."""
    tables = [part.table for part in parts]
    machines, name_of = _machines(chosen)
    joined = type(tables[0])()
    records = {id(table): _records_by_case(table) for table in tables}
    for part, row in chosen:
        if len(machines) > 1:
            name = name_of[_facts(part.table, row)]
            joined.add(Record(row.kernel, row.workload, MACHINE, detail=name))
        for record in records[id(part.table)][Case(row.kernel, row.workload)]:
            if record.quantity != MACHINE:
                joined.add(record)
    joined.machines = machines if len(machines) > 1 else {}
    joined.environment = next(iter(machines.values()), tables[0].environment)
    available = [table.available_bytes for table in tables if table.available_bytes]
    joined.available_bytes = min(available, default=None)
    profiles = [table.machine for table in tables]
    joined.machine = profiles[0] if all(one == profiles[0] for one in profiles) else None
    joined.command = " ".join(("attnprof report", *(part.path for part in parts)))
    joined.finished_at = max(table.finished_at for table in tables)
    joined.saved_costs = merged_costs(table.saved_costs for table in tables)
    joined.study = _study([table.study for table in tables if table.study])
    return joined


def _records_by_case(table: ResultTable) -> dict[Case, list[Record]]:
    by_case: dict[Case, list[Record]] = {}
    for record in table.records:
        by_case.setdefault(Case(record.kernel, record.workload), []).append(record)
    return by_case


def _study(studies: Sequence[StudyPart]) -> StudyPart:
    count = studies[0].count
    has_one_count = all(study.count == count for study in studies)
    shards = sorted({index for study in studies for index in study.parts})
    whole = next((study for study in studies if len(study.parts) == study.count), None)
    if whole is not None:
        count, shards = whole.count, list(whole.parts)
    elif not has_one_count:
        count, shards = 0, []
    sources = {name: text for study in studies for name, text in study.sources.items()}
    return replace(studies[0], parts=tuple(shards), count=count, sources=sources)


def _machines(
    chosen: Iterable[tuple[Part, Row]],
) -> tuple[dict[str, Mapping[str, object]], dict[str, str]]:
    """Environments by the names of machines, and these names by their facts."""
    names: dict[str, str] = {}
    environments: dict[str, Mapping[str, object]] = {}
    seen: dict[str, int] = {}
    for part, row in chosen:
        facts = _facts(part.table, row)
        if facts in names:
            continue
        kind = kind_of(part.table.machine_of(row)) or "unknown machine"
        seen[kind] = seen.get(kind, 0) + 1
        names[facts] = numbered(kind, seen[kind])
        environments[names[facts]] = _environment(part.table, row)
    return environments, names


def _environment(table: ResultTable, row: Row) -> Mapping[str, object]:
    return table.machines.get(row.machine) or table.environment or {}


def _facts(table: ResultTable, row: Row) -> str:
    """What identifies the machine of a row."""
    known = _environment(table, row)
    facts: list[Any] = [known.get(name) for name in _FACTS]
    return json.dumps([table.machine_of(row), *facts], sort_keys=True)


def _missing(study: StudyPart, table: ResultTable) -> Iterator[str]:
    missing = study.cases - table.num_rows
    if missing <= 0:
        return
    absent = [index for index in range(1, study.count + 1) if index not in study.parts]
    cases = counted(missing, "case")
    if not absent:
        are = "is" if missing == 1 else "are"
        yield f"{cases} of {study.cases:,} {are} missing: a run has not finished; --resume does so"
        return
    numbers = _listed([str(index) for index in absent])
    are = ("parts", "are") if len(absent) > 1 else ("part", "is")
    yield f"{are[0]} {numbers} of {study.count} {are[1]} missing: {cases}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _other_versions(parts: Sequence[Part]) -> Iterator[str]:
    """Packages, Python and code of kernels that differ between files."""
    versions: dict[str, dict[str, list[str]]] = {}
    for part in parts:
        for known in part.table.machines.values() or [part.table.environment or {}]:
            packages: Any = known.get("packages") or {}
            for name, version in {**packages, "Python": known.get("python")}.items():
                if version:
                    found = versions.setdefault(f"versions of {name}", {})
                    _note(found, str(version), part.path)
        if part.table.study is not None:
            for kernel, digest in part.table.study.sources.items():
                found = versions.setdefault(f"the code of {kernel}", {})
                _note(found, digest[:8], part.path)
    yield from (_difference(name, found) for name, found in versions.items() if len(found) > 1)


def _other_counts(parts: Sequence[Part]) -> Iterator[str]:
    """Counts of one case that differ between files, which no machine explains."""
    values: dict[tuple[Case, str], dict[str, list[str]]] = {}
    for part in parts:
        for row in part.table.rows:
            for quantity in _EXACT:
                value = row.integer(quantity)
                if value is not None:
                    key = (Case(row.kernel, row.workload), quantity)
                    _note(values.setdefault(key, {}), f"{value:,}", part.path)
    lines = [
        _difference(f"{case.kernel} at {format_count(case.workload.seq_len)}: {quantity}", found)
        for (case, quantity), found in values.items()
        if len(found) > 1
    ]
    yield from lines[:_SHOWN_CONFLICTS]
    if len(lines) > _SHOWN_CONFLICTS:
        yield f"{counted(len(lines) - _SHOWN_CONFLICTS, 'further count')} differ between files"


def _note(found: dict[str, list[str]], value: str, path: str) -> None:
    paths = found.setdefault(value, [])
    if path not in paths:
        paths.append(path)


def _difference(name: str, found: Mapping[str, Sequence[str]]) -> str:
    """`versions of torch differ: a.json has 2.12.0, b.json has 2.13.0`."""
    has = (
        f"{paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''} has {value}"
        for value, paths in found.items()
    )
    return f"{name} differ: {', '.join(has)}"
