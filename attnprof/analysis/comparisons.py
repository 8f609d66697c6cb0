"""The parts of a table that are compared: rows of one setting, of one kind of machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnprof.core.machine_names import kind_of
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.saved_costs import costs_name


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows that are compared with one another.

    Attributes:
        name: what tells them from the others of their table; empty where there are none.
        table: these rows.
    """

    name: str
    table: ResultTable


def comparisons_of(table: ResultTable) -> list[Comparison]:
    """The parts of a table, setting by setting; a table of one part is that part.

    What follows from a part is never of two settings of a study, nor of machines that differ in
    more than their names: crossovers, growth, and who is fastest.
    """
    rows: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        rows.setdefault((kind_of(table.machine_of(row)), row.setting), []).append(row)
    if len(rows) < 2:
        return [Comparison("", table)]
    known = table.study.settings if table.study else ()
    settings = list(dict.fromkeys((*known, *(setting for _, setting in rows))))
    ordered = sorted(rows.items(), key=lambda item: settings.index(item[0][1]))
    has_machines = len({machine for machine, _ in rows}) > 1
    return [
        Comparison(
            ", ".join(filter(None, (machine if has_machines else "", setting))),
            _part(table, part),
        )
        for (machine, setting), part in ordered
    ]


def _part(table: ResultTable, rows: Sequence[Row]) -> ResultTable:
    keys = {(row.kernel, row.workload) for row in rows}
    part = ResultTable(
        record for record in table.records if (record.kernel, record.workload) in keys
    )
    machines = dict.fromkeys(row.machine for row in rows if row.machine)
    part.machines = {name: table.machines[name] for name in machines if name in table.machines}
    part.environment = next(iter(part.machines.values()), table.environment)
    part.available_bytes = table.available_bytes
    part.machine = table.machine
    part.command = table.command
    part.finished_at = table.finished_at
    part.study = table.study
    part.saved_costs = {
        row.kernel: table.saved_costs[name]
        for row in rows
        if (name := costs_name(row.kernel, row.setting)) in table.saved_costs
    }
    return part
