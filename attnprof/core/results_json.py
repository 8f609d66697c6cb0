"""Results as JSON and back: all that is needed to print them again.

A row has the names of the CSV's columns as keys. Beside them are the quantities that have no column
and the notes, each with the quantity that it is on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from attnprof.core.machine import Machine, check_machine
from attnprof.core.records import (
    CASE,
    COLUMN_UNITS,
    MACHINE,
    NAMES,
    PREDICTED,
    RATIO,
    REFERENCE,
    WITHHELD,
    Record,
    Status,
    Value,
    is_fraction,
)
from attnprof.core.result_table import ResultTable, Row, describe_extent
from attnprof.core.saved_costs import read_saved_costs
from attnprof.core.saved_masks import SavedMask, saved_masks
from attnprof.core.saved_workload import SavedWorkload, saved_workload
from attnprof.core.study import StudyPart
from attnprof.core.typed_json import UnexpectedError, read_as
from attnprof.core.workload import Workload

SCHEMA = 1

_WITHHELD_DETAIL = "not measurable now: "
"""How the detail of a row without a verdict begins in files of earlier versions."""

_Table = TypeVar("_Table", bound=ResultTable)

_TIMES = ("time_ns", "time_low_ns", "time_high_ns")

_EXTENT = re.compile(r"(?:(\d+) )?whole layers?|stack of (\d+) layers")
"""The layers and scope in the detail of a file that does not have them as keys."""


def to_json(table: ResultTable, environment: Mapping[str, object] | None) -> str:
    """The results as a JSON object; see `ResultTable.to_json`."""
    notes: dict[tuple[str, Workload], list[Record]] = {}
    for record in table.records:
        if record.quantity in NAMES:
            continue
        if record.detail or (record.status != "ok" and record.quantity != CASE):
            notes.setdefault((record.kernel, record.workload), []).append(record)
    document = {
        "schema": SCHEMA,
        "environment": environment,
        "command": table.command,
        "finished_at": table.finished_at,
        "available_bytes": table.available_bytes,
        "machine": None if table.machine is None else asdict(table.machine),
        "custom_kernels": {name: costs.as_dict() for name, costs in table.saved_costs.items()},
        "masks": saved_masks(row.workload for row in table.rows),
        "study": None if table.study is None else table.study.as_dict(),
        "machines": table.machines,
        "rows": [
            _to_object(table, row, notes.get((row.kernel, row.workload), ())) for row in table.rows
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _to_object(table: ResultTable, row: Row, notes: Sequence[Record]) -> dict[str, object]:
    in_columns = {*COLUMN_UNITS, *PREDICTED}
    return {
        **table.cells(row),
        **row.verdict_fields(),
        **row.predicted(),
        "layers": len(row.workload.layers),
        "scope": row.workload.scope,
        "setting": row.setting,
        "quantities": {name: row.values[name] for name in sorted(row.values.keys() - in_columns)},
        "notes": [
            {"quantity": note.quantity, "status": note.status, "detail": note.detail}
            for note in notes
        ],
    }


@dataclass(frozen=True, slots=True)
class _Note:
    quantity: str
    status: Status
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _SavedRow(SavedWorkload):
    """A row; of earlier versions it has no `quantities` and `notes`."""

    kernel: str
    status: Status
    detail: str = ""
    quantities: Mapping[str, object] = field(default_factory=dict[str, object])
    notes: tuple[_Note, ...] | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    machine: str | None = None
    setting: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Environment:
    """The parts of an environment that reports use; it may have others."""

    processor: str | None = None
    cores: int | None = None
    threads: int | None = None
    gpu: str | None = None
    memory_bytes: int | None = None
    packages: Mapping[str, str] = field(default_factory=dict[str, str])


def check_environment(value: object, path: str) -> None:
    """Check the parts of an environment that reports use.

    Raises:
        UnexpectedError: for the first that is something else.
    """
    read_as(_Environment, value, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SavedResults:
    """A file of results; of earlier versions it has `environment` and `rows` only."""

    rows: tuple[object, ...]
    environment: Mapping[str, object] | None = None
    command: str = ""
    finished_at: str = ""
    available_bytes: int | None = None
    machine: Machine | None = None
    custom_kernels: Mapping[str, object] = field(default_factory=dict[str, object])
    masks: Mapping[str, SavedMask] = field(default_factory=dict[str, SavedMask])
    study: StudyPart | None = None
    machines: Mapping[str, Mapping[str, object]] = field(
        default_factory=dict[str, Mapping[str, object]]
    )


def read_results(document: Mapping[str, object], table: _Table) -> _Table:
    """Add what a file has to a new table.

    Args:
        document: as `json.loads` returns it.
        table: an empty one.

    Returns:
        The same table.

    Raises:
        UnexpectedError: when it has no results, or for the first value that is wrong.
    """
    schema = document.get("schema")
    if "rows" in document and schema != SCHEMA:
        raise UnexpectedError(f"schema is {schema}, but this attnprof reads {SCHEMA}")
    saved = read_as(_SavedResults, document)
    if saved.machine is not None:
        check_machine(saved.machine)
    if saved.environment is not None:
        check_environment(saved.environment, "environment")
    for name, known in saved.machines.items():
        check_environment(known, f"machines.{name}")
    _check_time(saved.finished_at)
    table.environment = saved.environment
    table.command = saved.command
    table.finished_at = saved.finished_at
    table.available_bytes = saved.available_bytes
    table.machine = saved.machine
    table.study = saved.study
    table.machines = saved.machines
    table.saved_costs = {
        name: read_saved_costs(costs, f"custom_kernels.{name}")
        for name, costs in saved.custom_kernels.items()
    }
    for index, row in enumerate(saved.rows):
        for record in _records(row, f"rows[{index}]", saved.masks):
            # In a file of one machine, the environment is that of all rows.
            if record.quantity != MACHINE or saved.machines:
                table.add(record)
    return table


def _check_time(text: str) -> None:
    try:
        datetime.fromisoformat(text or "2000-01-01")
    except ValueError as error:
        raise UnexpectedError("finished_at is not a time in ISO 8601") from error


def _records(value: object, path: str, masks: Mapping[str, SavedMask]) -> Iterator[Record]:
    """The records of a row, the last of which closes it."""
    cells = read_as(Mapping[str, object], value, path)
    row = read_as(_SavedRow, value, path)
    values = _values(cells, row, path)
    workload, notes = saved_workload(_with_extent(row), path, masks), row.notes
    if notes is None:
        detail = _bare_detail(row, workload, values)
        is_withheld = detail.startswith(_WITHHELD_DETAIL)
        notes = (_Note(WITHHELD if is_withheld else CASE, row.status, detail),)
        values |= _reference_ratio(row, values) | ({WITHHELD: 1} if is_withheld else {})
    noted = {note.quantity for note in notes}
    for quantity, text in zip(NAMES, (row.machine, row.setting), strict=True):
        if text:
            yield Record(row.kernel, workload, quantity, detail=text)
    for quantity, number in values.items():
        if quantity not in noted:
            yield Record(row.kernel, workload, quantity, number)
    for note in notes:
        status = row.status if note.quantity == CASE else note.status
        number = values.get(note.quantity)
        yield Record(row.kernel, workload, note.quantity, number, status, note.detail)
    if CASE not in noted:
        yield Record(row.kernel, workload, CASE, None, row.status)


def _values(cells: Mapping[str, object], row: _SavedRow, path: str) -> dict[str, Value]:
    found = {name: cells[name] for name in (*COLUMN_UNITS, *PREDICTED) if name in cells}
    return {
        name: _value(name, number, f"{path}.{name}")
        for name, number in {**found, **row.quantities}.items()
        if number is not None
    }


def _value(quantity: str, number: object, path: str) -> Value:
    value = read_as(float if is_fraction(quantity) else int, number, path)
    if quantity in _TIMES and not value:
        raise UnexpectedError(f"{path} must be more than 0")
    return value


def _with_extent(row: _SavedRow) -> _SavedRow:
    """The row with the layers and scope that a detail of an earlier version describes."""
    match = _EXTENT.match(row.detail)
    if match is None or row.layers is not None:
        return row
    whole, stacked = match.groups()
    return replace(
        row, layers=int(whole or stacked or 1), scope="attention" if stacked else "layer"
    )


def _bare_detail(row: _SavedRow, workload: Workload, values: Mapping[str, Value]) -> str:
    """The detail of an earlier version without what `Row.detail` adds to it."""
    added = (
        describe_extent(workload),
        Row(row.kernel, workload, row.status, values=dict(values)).prediction,
    )
    return "; ".join(part for part in row.detail.split("; ") if part not in added)


def _reference_ratio(row: _SavedRow, values: Mapping[str, Value]) -> dict[str, Value]:
    """The ratio of times to the reference, from the speed and its interval; empty without them."""
    speeds = {"": values.get("speedup"), "_low": row.speedup_high, "_high": row.speedup_low}
    return {
        f"{RATIO}{end}:{REFERENCE}": 1 / speed
        for end, speed in speeds.items()
        if speed and all(speeds.values())
    }
