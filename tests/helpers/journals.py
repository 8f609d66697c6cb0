"""Records and a journal of them."""

from __future__ import annotations

from pathlib import Path

from workloads import groups_by_length

from attnprof.core.records import Record
from attnprof.core.workload import Case
from attnprof.options import read_cases
from attnprof.report.journal import Journal
from attnprof.report.journal_format import RunFingerprint

KEY = RunFingerprint({"processor": "one", "packages": {"torch": "2"}}, {})

WANTED = ["operator_macs", "time_ns"]


def cases() -> tuple[Case, ...]:
    return read_cases({"len": [64, 128], "kernel": ["bert-sdpa", "longformer-hf"]}, "cpu")


def record(case: Case, quantity: str, value: int | None = 1, status: str = "ok") -> Record:
    return Record(case.kernel, case.workload, quantity, value, status)  # type: ignore[arg-type]


def journal(path: Path, *, key: RunFingerprint = KEY, is_resumed: bool = True) -> Journal:
    return Journal(path, key, is_resumed=is_resumed)


def quantities(
    path: Path, key: RunFingerprint = KEY, wanted: list[str] = WANTED
) -> list[list[str]]:
    resumed = journal(path, key=key)
    records = resumed.resumable(groups_by_length(cases()), wanted)
    resumed.close()
    return [[record.quantity for record in records.get(case, [])] for case in cases()]
