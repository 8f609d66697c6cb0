"""Literal tables for charts, with as many kernels and lengths as a test wants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attnprof import AttentionPattern, ResultTable, Workload
from attnprof.core.records import (
    CASE,
    COPY_RATE,
    MATMUL_RATE,
    RATIO,
    ROUNDS,
    Record,
    Status,
)

KERNELS = (
    "bert-sdpa",
    "longformer-banded",
    "bert-eager",
    "longformer-hf",
    "longformer-masked",
    "longformer-flex",
    "a_package.modeling:Attention",
    "another.package.of_somebody.modeling_attention:VeryLongAttentionName",
)


def workload(kernel: str, seq_len: int, window: int = 64) -> Workload:
    sliding = AttentionPattern.sliding(window, 1, (0,), 4)
    is_dense = kernel.startswith("bert")
    return Workload(AttentionPattern.dense(4) if is_dense else sliding, seq_len, 64)


def values(kernel: str, seq_len: int) -> dict[str, int]:
    """Costs that grow as n² for dense kernels and as n for others; no two kernels are alike."""
    slot = 1 + KERNELS.index(kernel)
    grown = seq_len**2 if kernel.startswith("bert") else 500 * seq_len
    time = 1000 * slot * grown
    return {
        "executed_macs": 3 * slot * grown,
        "ptflops_pytorch_macs": 2 * slot * grown,
        "predicted_peak_bytes": 90 * slot * grown,
        "peak_bytes": 100 * slot * grown,
        "time_ns": time,
        "time_low_ns": time * 9 // 10,
        "time_high_ns": time * 12 // 10,
        "intensity": slot * (seq_len if kernel.startswith("bert") else 100) // 2,
        MATMUL_RATE: 4_000_000,
        COPY_RATE: 2_000_000,
    }


def case(
    kernel: str, seq_len: int, *, without: Sequence[str] = (), status: Status = "ok", why: str = ""
) -> Iterator[Record]:
    """The records of one case."""
    call = workload(kernel, seq_len)
    for quantity, value in values(kernel, seq_len).items():
        if quantity not in without:
            yield Record(kernel, call, quantity, value)
    yield Record(kernel, call, CASE, None, status, why)


def chart_table(kernels: Sequence[str], lengths: Sequence[int]) -> ResultTable:
    return ResultTable(one for kernel in kernels for n in lengths for one in case(kernel, n))


TIMES = ("time_ns", "time_low_ns", "time_high_ns")


def with_gaps() -> ResultTable:
    """One kernel that did not fit at the longest length, and one that failed at two lengths."""
    table = chart_table(KERNELS[:2], (512, 1024, 4096))
    for n in (512, 1024):
        for record in case("bert-eager", n):
            table.add(record)
    measured = (*TIMES, "peak_bytes")
    for record in case("bert-eager", 4096, without=measured, status="skipped", why="needs 9 TiB"):
        table.add(record)
    for record in case("longformer-hf", 512):
        table.add(record)
    for n in (1024, 4096):
        for record in case("longformer-hf", n, without=measured, status="timeout", why="slow"):
            table.add(record)
    for quantity, value in (("", 7), ("_low", 6), ("_high", 8)):
        name = f"predicted_time{quantity}_ns"
        table.add(Record("bert-eager", workload("bert-eager", 4096), name, value * 10**9))
    return table


def with_ratios(ratios: dict[int, float]) -> ResultTable:
    """bert-sdpa and longformer-banded, with the ratio of their times at each length."""
    table = chart_table(KERNELS[:2], tuple(ratios))
    for n, ratio in ratios.items():
        call = workload("longformer-banded", n)
        for end, factor in (("", 1.0), ("_low", 0.98), ("_high", 1.02)):
            name = f"{RATIO}{end}:bert-sdpa"
            table.add(Record("longformer-banded", call, name, ratio * factor))
        table.add(Record("longformer-banded", call, ROUNDS, 100))
    return table
