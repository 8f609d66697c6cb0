"""Result tables with literal times and ratios, for tests of what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attnprof import ResultTable
from attnprof.core.records import RATIO, REFERENCE, ROUNDS, WITHHELD, Record
from attnprof.core.workload import Case
from attnprof.measure.static_costs import estimate_records
from attnprof.options import read_cases

Speed = tuple[float, float, float]
"""How many times as fast as the reference: median, low, high."""

REASON = (
    "not measurable now: other processes used 0.9 of 2 cores (dpkg (pid 12) 0.4, cc (pid 13) 0.2); "
    "close them, or lower --threads to 1"
)

ENVIRONMENT = {"processor": "Räder 3000", "threads": 2, "gpu": None}


def timed_table(
    speeds: Mapping[str, Sequence[Speed | None]],
    times_ns: Sequence[int],
    *,
    withheld: Sequence[int] = (),
    **options: Any,
) -> ResultTable:
    """Kernels at some lengths, with speeds relative to `bert-sdpa`.

    Args:
        speeds: by kernel, one for each length; None where it was not timed.
        times_ns: of the reference, one for each length.
        withheld: lengths whose verdicts are withheld.
        options: of `compare`; `len` has as many lengths as there are times.
    """
    cases = read_cases({"kernel": [REFERENCE, *speeds], **options}, "cpu")  # type: ignore[typeddict-item]
    table = ResultTable(estimate_records(cases))
    table.environment = ENVIRONMENT
    lengths = sorted({case.workload.seq_len for case in cases})
    for case in cases:
        index = lengths.index(case.workload.seq_len)
        speed = (1.0, 1.0, 1.0) if case.kernel == REFERENCE else speeds[case.kernel][index]
        if speed is not None:
            is_withheld = case.workload.seq_len in withheld
            _add(table, case, times_ns[index], speed, is_withheld=is_withheld)
    return table


def _add(
    table: ResultTable, case: Case, reference_ns: int, speed: Speed, *, is_withheld: bool
) -> None:
    median, low, high = speed
    values: dict[str, float] = {
        "time_ns": max(1, round(reference_ns / median)),
        "time_low_ns": max(1, round(reference_ns / high)),
        "time_high_ns": max(1, round(reference_ns / low)),
        ROUNDS: 20,
    }
    if not is_withheld:
        values |= {
            f"{RATIO}:{REFERENCE}": 1 / median,
            f"{RATIO}_low:{REFERENCE}": 1 / high,
            f"{RATIO}_high:{REFERENCE}": 1 / low,
            "speedup": round(median, 4),
        }
    for quantity, value in values.items():
        table.add(Record(case.kernel, case.workload, quantity, value))
    reason = REASON if is_withheld else ""
    table.add(Record(case.kernel, case.workload, WITHHELD, int(is_withheld), detail=reason))
