"""Literal tables of finished runs, such as `compare` saves them."""

from __future__ import annotations

from collections.abc import Iterator

from attnprof import ResultTable
from attnprof.core.records import (
    CASE,
    PREDICTED,
    RATIO,
    REFERENCE,
    RESIDENT_PEAK,
    ROUNDS,
    WITHHELD,
    Record,
    Status,
    Value,
)
from attnprof.core.workload import Case, Workload
from attnprof.measure.static_costs import estimate_records
from attnprof.options import GridOptions, read_cases

ENVIRONMENT: dict[str, object] = {
    "processor": "Processor",
    "cores": 4,
    "threads": 2,
    "memory_bytes": 2**34,
    "gpu": None,
    "system": "System 1",
    "python": "3.12.1",
    "packages": {"attnprof": "0.1.0", "torch": "2.13.0"},
}

ENDINGS: dict[Status, str] = {
    "ok": "timing uncertain; raise --max-seconds",
    "unsupported": "computes something else",
    "skipped": "needs 5 GiB; 4 GiB are available",
    "oom": "ran out of memory: it was not enough",
    "timeout": "took more than 600 s",
    "wrong": "output is off by 3, at position 7 | head 2",
    "error": "ValueError: <b>no</b> & never",
}
"""Each status with a detail; `|`, `<` and `&` have a meaning in Markdown and HTML."""


def run(
    options: GridOptions | None = None,
    *,
    slowness: float = 1.0,
    endings: dict[Status, str] | None = None,
) -> ResultTable:
    """A measured run; each of `endings` ends one case, the last cases of the run.

    Args:
        options: the default compares three kernels, one of them with two windows.
        slowness: factor of all times but the reference's.
        endings: details by status.
    """
    grid: GridOptions = options or {
        "kernel": ["bert-sdpa", "longformer-hf", "longformer-banded"],
        "len": [512, 1024, 4096],
        "window": [64, 128],
    }
    cases = read_cases(grid, "cpu")
    ended = dict(zip(reversed(cases), (endings or {}).items(), strict=False))
    table = ResultTable()
    table.environment = ENVIRONMENT
    table.available_bytes = 2**34
    table.command = "attnprof compare --json 'my costs.json'"
    table.finished_at = "2026-05-17T08:30:00+02:00"
    for record in estimate_records(cases):
        case = Case(record.kernel, record.workload)
        if record.quantity != CASE:
            table.add(record)
            continue
        status, detail = ended.get(case, ("ok", ""))
        for quantity, value in _measured(case, status, slowness):
            table.add(Record(case.kernel, case.workload, quantity, value))
        table.add(Record(case.kernel, case.workload, CASE, None, status, detail))
    return table


def _measured(case: Case, status: Status, slowness: float) -> Iterator[tuple[str, Value]]:
    """What was measured of a case, as numbers that follow from its name and length."""
    workload = case.workload
    time_ns = _time_ns(case, slowness)
    if status == "skipped":
        yield from zip(PREDICTED, (time_ns, time_ns // 2, time_ns * 2), strict=True)
    if status != "ok":
        return
    yield "ptflops_pytorch_macs", workload.seq_len * 12_345
    yield "peak_bytes", workload.seq_len * 54_321
    yield RESIDENT_PEAK, workload.seq_len * 54_323
    yield from zip(
        ("time_ns", "time_low_ns", "time_high_ns"),
        (time_ns, time_ns * 9 // 10, time_ns * 11 // 10),
        strict=True,
    )
    yield ROUNDS, 12
    yield WITHHELD, 0
    if case.kernel != REFERENCE:
        ratio = time_ns / _time_ns(Case(REFERENCE, workload.densified()), 1.0)
        for end, factor in (("", 1.0), ("_low", 0.9), ("_high", 1.1)):
            yield f"{RATIO}{end}:{REFERENCE}", ratio * factor
        yield "speedup", round(1 / ratio, 4)


def _time_ns(case: Case, slowness: float) -> int:
    """Quadratic for the reference, linear for the others."""
    n = case.workload.seq_len
    if case.kernel == REFERENCE:
        return 20 * n * n
    return round(slowness * n * (20_000 + 100 * len(case.kernel) + _window(case.workload)))


def _window(workload: Workload) -> int:
    return workload.layers[0].window or 0
