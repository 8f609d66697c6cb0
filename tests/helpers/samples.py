"""Timing samples, and a comparison with one row that is skipped."""

from __future__ import annotations

import dataclasses

from attnprof import kernels
from attnprof.analysis.predictions import predicted_records, samples_of
from attnprof.core.machine import Sample
from attnprof.core.records import CASE, Record
from attnprof.core.result_table import ResultTable
from attnprof.core.workload import Case
from attnprof.measure.static_costs import estimate_records
from attnprof.options import read_cases


def sample(n: int, macs: int, moved: int, time_ns: float, spread: float = 0.0) -> Sample:
    return Sample(
        seq_len=n,
        executed_macs=macs,
        moved_bytes=moved,
        time_ns=round(time_ns),
        time_low_ns=round(time_ns * (1 - spread)),
        time_high_ns=round(time_ns * (1 + spread)),
    )


def compared(kernel: str = "bert-eager", skipped: int = 8192) -> ResultTable:
    """A comparison whose longest length was skipped; the others took 10 ps a MAC."""
    table = ResultTable()
    cases = read_cases({"kernel": kernel, "len": [512, 1024, 2048, skipped]}, "cpu")
    for record in estimate_records(cases):
        if record.quantity == CASE:
            case = Case(record.kernel, record.workload)
            if record.workload.seq_len < skipped:
                macs = kernels.find(kernel).executed_macs(record.workload)
                for quantity, part in (("time_ns", 1), ("time_low_ns", 0.9), ("time_high_ns", 1.1)):
                    value = round(0.01 * macs * part)
                    table.add(Record(record.kernel, record.workload, quantity, value))
            else:
                for prediction in predicted_records(case, samples_of(table.records, case)):
                    table.add(prediction)
                record = dataclasses.replace(record, status="skipped", detail="needs too much")
        table.add(record)
    return table
