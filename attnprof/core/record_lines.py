"""Records as plain data: what identifies their case, and their value."""

from __future__ import annotations

from attnprof.core.records import Record
from attnprof.core.result_columns import LEADING_COLUMNS, WORKLOAD_COLUMNS
from attnprof.core.result_table import Cell, Row
from attnprof.core.workload import Workload


def identity_of(kernel: str, workload: Workload) -> dict[str, Cell]:
    """What identifies a case, as plain data.

    Layers and scope have keys here; in rows they are part of the detail.
    """
    cells = Row(kernel, workload).cells()
    columns = (*LEADING_COLUMNS[1:2], *LEADING_COLUMNS[3:12], *WORKLOAD_COLUMNS)
    return {
        "kernel": kernel,
        **{column: cells[column] for column in columns},
        "layers": len(workload.layers),
        "scope": workload.scope,
    }


def record_line(record: Record) -> dict[str, Cell]:
    """A record as plain data: its case, quantity, value, unit, status and detail."""
    return {
        **identity_of(record.kernel, record.workload),
        "quantity": record.quantity,
        "value": record.value,
        "unit": record.unit,
        "status": record.status,
        "detail": record.detail,
    }
