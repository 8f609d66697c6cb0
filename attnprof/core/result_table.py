"""`ResultTable`: records as rows, and rows as CSV, JSON and pandas."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from attnprof.core.intervals import Interval
from attnprof.core.machine_names import machine_name
from attnprof.core.mask_pattern import format_mask
from attnprof.core.notation import (
    format_dilation,
    format_global_tokens,
    format_window,
    has_windows,
)
from attnprof.core.records import (
    CASE,
    COLUMN_UNITS,
    FAILURES,
    FRACTIONS,
    MACHINE,
    NAMES,
    PREDICTED,
    RATIO,
    REFERENCE,
    ROUNDS,
    WITHHELD,
    Record,
    Status,
    Value,
)
from attnprof.core.result_columns import (
    BOUND,
    COLUMNS,
    ESTIMATED,
    FIRST_QUANTITIES,
    LATER_COLUMNS,
)
from attnprof.core.roofline import bound
from attnprof.core.saved_costs import SavedCosts
from attnprof.core.study import StudyPart
from attnprof.core.units import format_bytes, format_long_duration
from attnprof.core.verdict import Verdict, verdict
from attnprof.core.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

    from attnprof.core.machine import Machine

Cell = int | float | str | None

_MEASURED = COLUMN_UNITS.keys() - ESTIMATED


@dataclass(slots=True)
class Row:
    """One kernel on one workload, with all results.

    Attributes:
        kernel: the kernel's name.
        workload: the call that was costed.
        status: of the case; see `Status`.
        details: notes, and why values are missing.
        values: by quantity, in the units of `attnprof.core.records.COLUMN_UNITS` (MACs, bytes and
            nanoseconds are integers); also quantities without a column.
        is_finished: whether the case has been closed.
        withheld: why there is no verdict although the time was measured; empty if there is one.
        machine: that measured it, where the table has several; empty if it is the table's.
        setting: of the study, which the rows that it is compared with share; empty without one.
    """

    kernel: str
    workload: Workload
    status: Status = "ok"
    details: list[str] = field(default_factory=list[str])
    values: dict[str, Value] = field(default_factory=dict[str, Value])
    is_finished: bool = False
    withheld: str = ""
    machine: str = ""
    setting: str = ""

    @property
    def detail(self) -> str:
        """Notes on the row, and why cells are empty; joined by semicolons."""
        # The window column shows the layers of a stack, if there are windows.
        is_in_window = self.workload.scope == "attention" and has_windows(self.workload.pattern)
        extent = "" if is_in_window else describe_extent(self.workload)
        notes = [extent, *self.details, self.prediction]
        return "; ".join(dict.fromkeys(note for note in notes if note))

    @property
    def prediction(self) -> str:
        """The predicted time with its interval, and the predicted peak, as text; empty if none."""
        times = [self.integer(quantity) for quantity in PREDICTED]
        if None in times:
            return ""
        time, low, high = (format_long_duration(time or 0) for time in times)
        peak = self.integer("predicted_peak_bytes")
        return f"predicted: {time} ({low} to {high})" + (
            "" if peak is None else f", peak {format_bytes(peak)}"
        )

    def integer(self, quantity: str) -> int | None:
        """An integer value; None if there is none."""
        value = self.values.get(quantity)
        return None if value is None else int(value)

    @property
    def verdict(self) -> Verdict | None:
        """Whether it is faster than `REFERENCE`; None without a ratio, and for the reference."""
        return self.verdict_against(REFERENCE)

    def verdict_against(self, reference: str) -> Verdict | None:
        """Whether it is faster than a kernel; None without a ratio, and for that kernel itself."""
        speed = self.speed_against(reference)
        if speed is None or self.kernel == reference:
            return None
        return verdict(speed, self.integer(ROUNDS) or 0)

    def speed_against(self, reference: str) -> Interval | None:
        """How many times as fast as a kernel, from paired rounds; None without a valid ratio."""
        if self.withheld:
            return None
        ends = [self.values.get(f"{RATIO}{end}:{reference}") for end in ("", "_high", "_low")]
        if not all(ends):
            return None
        # A ratio of speeds is the inverse of a ratio of times, with the ends exchanged.
        return Interval(*(1 / end for end in ends if end))

    def verdict_fields(self) -> dict[str, Cell]:
        """The interval of `speedup` and the verdict, by name; empty without a verdict."""
        verdict = self.verdict
        if verdict is None:
            return {}
        return {
            "speedup_low": round(verdict.speed.low, 4),
            "speedup_high": round(verdict.speed.high, 4),
            "verdict": verdict.outcome,
        }

    def cells(self) -> dict[str, Cell]:
        """The row by column, in the order of `COLUMNS`; None if there is no value."""
        workload = self.workload
        return {
            "kernel": self.kernel,
            "seq_len": workload.seq_len,
            "padded_seq_len": self.integer("padded_seq_len"),
            "window": format_window(workload.pattern),
            "dilation": format_dilation(workload.pattern),
            "global_tokens": format_global_tokens(workload.pattern),
            "hidden_size": workload.hidden_size,
            "num_heads": workload.num_heads,
            "batch_size": workload.batch_size,
            "dtype": workload.dtype,
            "device": workload.device,
            "mode": workload.mode,
            "status": self.status,
            "detail": self.detail,
            **{column: self.values.get(column) for column in FIRST_QUANTITIES},
            "causal": int(workload.pattern.causal),
            "kv_heads": workload.kv_heads,
            "head_dim": workload.head_dim,
            "value_dim": workload.value_dim,
            "new_tokens": workload.new_tokens or None,
            "pattern": format_mask(workload.pattern),
            **{column: self.values.get(column) for column in LATER_COLUMNS},
            BOUND: bound(self.values),
            MACHINE: self.machine or None,
        }

    def predicted(self) -> dict[str, Cell]:
        """The predicted time and its interval in nanoseconds, by quantity; empty if none."""
        return {name: self.values[name] for name in PREDICTED if name in self.values}


def describe_extent(workload: Workload) -> str:
    """The layers and scope as text, such as `12 whole layers`; empty for one attention."""
    layers = len(workload.layers)
    if workload.scope == "layer":
        return "whole layer" if layers == 1 else f"{layers} whole layers"
    return f"stack of {layers} layers" if layers > 1 else ""


class ResultTable:
    """The results of `attnprof.estimate` and `attnprof.compare`: one row per kernel and workload.

    Results are stored as records, one per quantity, in the order in which they arrived. MACs,
    bytes and nanoseconds are integers.

    Attributes:
        records: all records, those of unfinished cases included.
        available_bytes: bytes that a call could allocate on the device; None if that was not
            measured.
        machine: the machine profile from which times of rows that were not run are predicted; None
            without one.
        environment: processor, versions and settings of the measuring machine, by name; None where
            nothing was measured.
        command: the command line or the Python call that the results are of; empty if unknown.
        finished_at: when the run ended, as ISO 8601 with its offset; empty where it has not, or
            where that is unknown.
        saved_costs: what findings need of custom kernels, by name, so that their code need not run
            again; kernels that are missing are found by their names.
        study: the part of a study that the results are of; None where they are of none.
        machines: environments by the names that rows have, where several machines measured.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._rows: dict[tuple[str, Workload], Row] = {}
        self.records: list[Record] = []
        self.available_bytes: int | None = None
        self.machine: Machine | None = None
        self.environment: Mapping[str, object] | None = None
        self.command: str = ""
        self.finished_at: str = ""
        self.saved_costs: Mapping[str, SavedCosts] = {}
        self.study: StudyPart | None = None
        self.machines: Mapping[str, Mapping[str, object]] = {}
        for record in records:
            self.add(record)

    def expect(self, cases: Iterable[tuple[str, Workload]]) -> None:
        """Rows come in the order of these kernels and workloads, whatever that of their records."""
        self._rows |= {(name, each): Row(name, each) for name, each in cases} | self._rows

    def add(self, record: Record) -> None:
        """Add one record. A record of the quantity `case` closes its row."""
        self.records.append(record)
        key = (record.kernel, record.workload)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Row(record.kernel, record.workload)
        if record.value is not None:
            row.values[record.quantity] = record.value
        if record.quantity in NAMES:
            setattr(row, record.quantity, record.detail)
        elif record.detail:
            row.details.append(record.detail)
        if record.quantity == WITHHELD:
            row.withheld = record.detail
        if record.quantity == CASE:
            row.status = record.status
            row.is_finished = True

    def close(self, status: Status, detail: str) -> None:
        """Close all open cases of which something was measured.

        Args:
            status: of these cases.
            detail: why they end.
        """
        for row in [row for row in self._rows.values() if not row.is_finished]:
            if row.values.keys() & _MEASURED:
                self.add(Record(row.kernel, row.workload, CASE, None, status, detail))

    @property
    def rows(self) -> list[Row]:
        """One row for each closed case, in the order of their first records."""
        return [row for row in self._rows.values() if row.is_finished]

    def machine_of(self, row: Row) -> str:
        """The name of the machine that measured a row; empty where nothing was measured."""
        return row.machine or machine_name(self.environment, row.workload.device)

    def cells(self, row: Row) -> dict[str, Cell]:
        """A row by column, see `Row.cells`, with the table's machine where the row names none."""
        return {**row.cells(), MACHINE: self.machine_of(row) or None}

    @property
    def num_rows(self) -> int:
        """The number of closed cases."""
        return sum(row.is_finished for row in self._rows.values())

    @property
    def has_failures(self) -> bool:
        """Whether a case was begun and failed: `oom`, `timeout`, `wrong` or `error`."""
        return any(row.status in FAILURES for row in self.rows)

    def to_csv(self) -> str:
        """CSV (RFC 4180, lines end with LF): a header and one line per row.

        Raw integers; a cell is empty if there is no value.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(self.cells(row).values() for row in self.rows)
        return text.getvalue()

    def to_json(self, environment: Mapping[str, object] | None = None) -> str:
        """A JSON object with `schema`, `environment`, `rows` and all that a report needs.

        A row has the names of the CSV's columns as keys, and null if there is no value. With a
        verdict it also has `speedup_low`, `speedup_high` and `verdict`; with a predicted time,
        `predicted_time_ns`, `predicted_time_low_ns` and `predicted_time_high_ns`. What has no
        column is in `layers`, `scope`, `quantities` and `notes`.

        Args:
            environment: processor, versions and settings of the run; that of the table if None.
        """
        from attnprof.core.results_json import to_json

        return to_json(self, self.environment if environment is None else environment)

    def to_json_lines(self) -> str:
        """JSON lines: one record per line, with the keys of `record_line`."""
        from attnprof.core.record_lines import record_line

        lines = (json.dumps(record_line(record), ensure_ascii=False) for record in self.records)
        return "".join(f"{line}\n" for line in lines)

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a DataFrame with the CSV's columns.

        Quantities are nullable `Int64`, so that integers stay exact; `FRACTIONS` are `Float64`.

        Raises:
            ImportError: if pandas is not installed.
        """
        import pandas as pd

        frame = pd.DataFrame([self.cells(row) for row in self.rows], columns=list(COLUMNS))
        types = {name: "Float64" if name in FRACTIONS else "Int64" for name in COLUMN_UNITS}
        return frame.astype(types)
