"""A table with a finished and an unfinished case."""

from __future__ import annotations

from attnprof import AttentionPattern, ResultTable, Workload
from attnprof.core.records import CASE, Record

WORKLOAD = Workload(AttentionPattern.sliding(8, [1, 1, 4], (0, 7), 3), 64, 12)

DENSE = WORKLOAD.densified()


def table() -> ResultTable:
    return ResultTable(
        [
            Record("one", WORKLOAD, "useful_macs", 12_345_678_901_234),
            Record("one", WORKLOAD, "torch_macs", None, "error", "torch_macs is empty: why"),
            Record("one", WORKLOAD, "speedup", 0.5),
            Record("one", WORKLOAD, CASE, None, "ok", "noisy, or so"),
            Record("two", DENSE, "useful_macs", 3),
            Record("two", DENSE, CASE, None, "skipped", "needs more"),
        ]
    )
