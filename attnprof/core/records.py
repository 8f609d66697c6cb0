"""Records: one estimated, counted or measured quantity each, with its unit and status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attnprof.core.errors import FailedError, describe_error, is_out_of_memory
from attnprof.core.workload import Case, Workload

Status = Literal["ok", "unsupported", "skipped", "oom", "timeout", "wrong", "error"]
Value = int | float

FAILURES: frozenset[Status] = frozenset({"oom", "timeout", "wrong", "error"})
"""Statuses of a case that was begun and failed."""

COLUMN_UNITS = {
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
    "cache_bytes": "B",
    "min_bytes": "B",
    "intensity": "FLOP/B",
    "utilisation": "1",
    "useful_utilisation": "1",
}
"""Units of the quantities that have a column, in the order of the columns."""

RATIO = "time_ratio"
"""`time_ratio:NAME`, `time_ratio_low:NAME` and `time_ratio_high:NAME` are the time divided by that
of kernel NAME at the same length, from paired rounds, and its interval. Findings use them; they
have no column."""

COMPILE = "compile_ns"
"""Compile time: the first call of a compiled kernel minus the next. In the row's detail."""

RESIDENT_PEAK = "resident_peak_bytes"
"""Peak resident memory of the case's process, a cross-check of `peak_bytes`. Has no column."""

RESERVED_PEAK = "reserved_peak_bytes"
"""Peak memory that CUDA's caching allocator reserved on the device. Has no column."""

ROUNDS = "rounds"
"""The number of rounds from which a case's time and ratios were computed."""

WITHHELD = "withheld"
"""1 if background load disturbed the rounds so much that no verdict follows from them; the record's
detail describes the load. 0 if they can be trusted."""

MATMUL_RATE = "matmul_macs_per_s"
COPY_RATE = "copy_bytes_per_s"
"""The machine's rates in the case's dtype: of one large matrix product, and of copies, read and
written bytes together. They have no column; `bound` and the roofline follow from them."""

REFERENCE = "bert-sdpa"
"""The reference kernel of `speedup` and verdicts, at the same length in the same run."""

ALLOCATED_CACHE = "allocated_cache_bytes"
"""Bytes that a kernel's cache has allocated after a call that decodes, where that is not
`cache_bytes`. Has no column."""

WINDOWED_REFERENCE = "mistral-sdpa"
"""What others are compared with where no dense kernel can run, as with grouped heads: transformers'
own layer with the same pattern, a window as a mask of all pairs. `speedup` is empty there."""

PREDICTED_TIME = "predicted_time_ns"
PREDICTED_TIME_LOW = "predicted_time_low_ns"
PREDICTED_TIME_HIGH = "predicted_time_high_ns"
"""The predicted time of a case that was not run, and its interval. They have no column; the row's
detail shows them."""

PREDICTED = (PREDICTED_TIME, PREDICTED_TIME_LOW, PREDICTED_TIME_HIGH)

MACHINE = "machine"
"""The machine that measured a case, where a table has several: the record's detail is its name."""

SETTING = "setting"
"""In a study, the values of options that a case shares with those that it is compared with: the
record's detail, such as `bfloat16, batch 2`. Empty where a study has one."""

NAMES = (MACHINE, SETTING)
"""Quantities whose detail is no note but names something."""

CASE = "case"
"""The quantity of the record that closes a case; it has a status and no value."""

INTERRUPTED = "interrupted before it finished"
"""The detail of a case that a run began and did not close."""

_HIDDEN_UNITS = {
    COMPILE: "ns",
    ROUNDS: "1",
    WITHHELD: "1",
    RESIDENT_PEAK: "B",
    RESERVED_PEAK: "B",
    ALLOCATED_CACHE: "B",
    MATMUL_RATE: "MAC/s",
    COPY_RATE: "B/s",
    **dict.fromkeys(PREDICTED, "ns"),
}
"""Units of the quantities without a column."""

UTILISATIONS = {"utilisation": "executed_macs", "useful_utilisation": "useful_macs"}
"""Parts of the machine's matmul rate that a call reaches, and the MACs of each."""

FRACTIONS = frozenset({"speedup", "intensity", *UTILISATIONS})
"""The quantities with a column whose values are no integers."""


def is_reference_of(reference: Case, workload: Workload) -> bool:
    """Whether a case is what one with this workload is compared with, if it is no other kernel's.

    It is the same call with dense attention, or of `WINDOWED_REFERENCE` with the same pattern.
    """
    if reference.workload == workload.densified():
        return True
    return reference.kernel == WINDOWED_REFERENCE and reference.workload == workload


@dataclass(frozen=True, slots=True)
class Record:
    """One quantity of one kernel on one workload.

    Attributes:
        kernel: the kernel's name.
        workload: the call that was costed.
        quantity: one of `COLUMN_UNITS`, `CASE`, or another constant of this module.
        value: in the unit of the quantity; None if there is none.
        status: whether it could be measured.
        detail: why there is no value, or a note on it.
    """

    kernel: str
    workload: Workload
    quantity: str
    value: Value | None = None
    status: Status = "ok"
    detail: str = ""

    @property
    def unit(self) -> str:
        """The unit of the value; empty if it has none."""
        return COLUMN_UNITS.get(self.quantity) or _HIDDEN_UNITS.get(self.quantity, "")


def is_fraction(quantity: str) -> bool:
    """Whether values of a quantity may be other than integers."""
    return quantity in FRACTIONS or quantity.startswith(RATIO)


def case_record(case: Case, status: Status, detail: str) -> Record:
    """The record that closes a case."""
    return Record(case.kernel, case.workload, CASE, None, status, detail)


def failure_record(case: Case, error: Exception) -> Record:
    """The record that closes a case after an error, with the error's message."""
    status: Status = "oom" if is_out_of_memory(error) else "error"
    if isinstance(error, FailedError):
        status = error.status
    detail = describe_error(error)
    return case_record(case, status, f"ran out of memory: {detail}" if status == "oom" else detail)


def missing_value_record(case: Case, quantity: str, reason: str) -> Record:
    """The record of a quantity that could not be measured."""
    detail = f"{quantity} is empty: {reason}"
    return Record(case.kernel, case.workload, quantity, None, "error", detail)
