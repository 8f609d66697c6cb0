"""What was estimated, counted and measured: long records inside, wide rows when shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attnprof.core.errors import FailedError, describe_error, is_out_of_memory
from attnprof.core.workload import Case, Workload

Status = Literal["ok", "unsupported", "skipped", "oom", "timeout", "wrong", "error"]
Value = int | float

FAILURES: frozenset[Status] = frozenset({"oom", "timeout", "wrong", "error"})
"""Statuses of a measurement that was begun and failed."""

UNITS = {
    "padded_seq_len": "tokens",
    "params": "parameters",
    "useful_macs": "MAC",
    "executed_macs": "MAC",
    "ptflops_pytorch_macs": "MAC",
    "ptflops_aten_macs": "MAC",
    "torch_macs": "MAC",
    "operator_macs": "MAC",
    "predicted_peak_bytes": "B",
    "peak_bytes": "B",
    "time_ns": "ns",
    "time_low_ns": "ns",
    "time_high_ns": "ns",
    "speedup": "1",
}
"""Quantities in the order of their columns, with their units."""

RATIO = "time_ratio"
"""The quantities `time_ratio:NAME`, `time_ratio_low:NAME` and `time_ratio_high:NAME` are the time
in units of kernel NAME's at the same length, from paired rounds, with its interval; findings use
them, and no column shows them."""

COMPILE = "compile_ns"
"""What the first call of a compiled kernel takes beyond the next; told in the row's detail."""

RESIDENT_PEAK = "resident_peak_bytes"
"""Of the process that a case runs in, as a cross-check of `peak_bytes`; in no column."""

RESERVED_PEAK = "reserved_peak_bytes"
"""What CUDA's caching allocator took from the device; in no column."""

ROUNDS = "rounds"
"""The quantity of the record that says from how many rounds a case's time and ratios come."""

WITHHELD = "withheld"
"""1 where something else disturbed the rounds so much that nothing follows from them but a time of
this machine at this moment; the record's detail says what it was. 0 where they can be trusted."""

REFERENCE = "bert-sdpa"
"""The kernel that `speedup` and verdicts are against, at the same length in the same run."""

PREDICTED_TIME = "predicted_time_ns"
PREDICTED_TIME_LOW = "predicted_time_low_ns"
PREDICTED_TIME_HIGH = "predicted_time_high_ns"
"""The time of a case that was not run, and the interval that it is expected in; no column of the
CSV has them, the detail tells them."""

PREDICTED = (PREDICTED_TIME, PREDICTED_TIME_LOW, PREDICTED_TIME_HIGH)

CASE = "case"
"""The quantity of the record that closes a case: it has a status and no value."""

_HIDDEN_UNITS = {
    COMPILE: "ns",
    ROUNDS: "1",
    WITHHELD: "1",
    RESIDENT_PEAK: "B",
    RESERVED_PEAK: "B",
    **dict.fromkeys(PREDICTED, "ns"),
}
"""Of quantities that no column shows."""


@dataclass(frozen=True, slots=True)
class Record:
    """One quantity of one kernel on one workload.

    Attributes:
        kernel: the kernel's name.
        workload: the call that was costed.
        quantity: one of `UNITS`, or `CASE`.
        value: in the unit of the quantity; None where there is none.
        status: how it came about.
        detail: why there is no value, or what to know about it.
    """

    kernel: str
    workload: Workload
    quantity: str
    value: Value | None = None
    status: Status = "ok"
    detail: str = ""

    @property
    def unit(self) -> str:
        """The unit of the value."""
        return UNITS.get(self.quantity) or _HIDDEN_UNITS.get(self.quantity, "")


def case_record(case: Case, status: Status, detail: str) -> Record:
    """The record that closes a case."""
    return Record(case.kernel, case.workload, CASE, None, status, detail)


def failure_record(case: Case, error: Exception) -> Record:
    """The record of a case that an error ends, in the words of whoever raised it."""
    status: Status = "oom" if is_out_of_memory(error) else "error"
    if isinstance(error, FailedError):
        status = error.status
    detail = describe_error(error)
    return case_record(case, status, f"ran out of memory: {detail}" if status == "oom" else detail)


def missing_value_record(case: Case, quantity: str, reason: str) -> Record:
    """The record of a quantity that could not be had."""
    detail = f"{quantity} is empty: {reason}"
    return Record(case.kernel, case.workload, quantity, None, "error", detail)
