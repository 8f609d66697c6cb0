"""The result of an audit: counts beside the reference, each difference by name."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from attnprof.analysis.uncounted import uncounted_records
from attnprof.core.notation import format_dilation, format_global_tokens, format_window
from attnprof.core.workload import Case

_COLUMNS = (
    "kernel",
    "seq_len",
    "window",
    "dilation",
    "global_tokens",
    "counter",
    "true_macs",
    "counted_macs",
    "differences",
    "residual_macs",
    "failure",
)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One counter on one case.

    Attributes:
        case: kernel and workload.
        counter: `operator` is the reference, counted operator by operator; `formula` the closed
            form of what the kernel executes; `useful` that of what its pattern needs; else the
            name of a counter or of a third-party tool.
        true_macs: the MACs of the reference.
        counted_macs: what the counter reports, in MACs; None where it failed.
        differences: what it adds to the reference or leaves out, by name, in MACs.
        failure: how it failed; empty where it did not.
    """

    case: Case
    counter: str
    true_macs: int
    counted_macs: int | None = None
    differences: Mapping[str, int] = field(default_factory=dict[str, int])
    failure: str = ""

    @property
    def residual_macs(self) -> int | None:
        """MACs that no difference explains; not 0 where attnprof does not understand the count."""
        if self.counted_macs is None:
            return None
        return self.counted_macs - self.true_macs - sum(self.differences.values())

    @property
    def share(self) -> float | None:
        """The counted MACs as a part of the reference; None where one of them is missing."""
        if self.counted_macs is None or not self.true_macs:
            return None
        return self.counted_macs / self.true_macs


@dataclass(slots=True)
class AuditTable:
    """Rows of every case, and what could not be audited.

    Attributes:
        rows: one for each counter and case.
        refusals: cases that their kernel does not support, with the reason.
        failures: cases without a reference count, with the reason.
        missing_peers: third-party tools that are not installed.
    """

    rows: list[AuditRow] = field(default_factory=list[AuditRow])
    refusals: list[tuple[Case, str]] = field(default_factory=list["tuple[Case, str]"])
    failures: list[tuple[Case, str]] = field(default_factory=list["tuple[Case, str]"])
    missing_peers: tuple[str, ...] = ()

    @property
    def unexplained(self) -> list[AuditRow]:
        """Rows with MACs that no difference explains."""
        return [row for row in self.rows if row.residual_macs]

    def to_csv(self) -> str:
        """One row for each counter and case; differences as `name=+1; name=-2`."""
        import pandas as pd

        text = io.StringIO()
        records = [
            {**_as_record(row), "differences": _listed_differences(row)} for row in self.rows
        ]
        pd.DataFrame(records, columns=list(_COLUMNS), dtype=object).to_csv(
            text, index=False, lineterminator="\n"
        )
        return text.getvalue()

    def to_json(self) -> str:
        """The rows, the cases without any, and the third-party tools that are not installed."""
        document = {
            "rows": [_as_record(row) for row in self.rows],
            "unsupported": uncounted_records(self.refusals),
            "failures": uncounted_records(self.failures),
            "missing_peers": list(self.missing_peers),
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _listed_differences(row: AuditRow) -> str:
    return "; ".join(f"{name}={macs:+d}" for name, macs in row.differences.items())


def _as_record(row: AuditRow) -> dict[str, Any]:
    workload = row.case.workload
    values = (
        row.case.kernel,
        workload.seq_len,
        format_window(workload.pattern),
        format_dilation(workload.pattern),
        format_global_tokens(workload.pattern),
        row.counter,
        row.true_macs,
        row.counted_macs,
        dict(row.differences),
        row.residual_macs,
        row.failure,
    )
    return dict(zip(_COLUMNS, values, strict=True))
