"""Result tables that tests of findings and reports use."""

from __future__ import annotations

from rich.console import Console

from attnprof import ResultTable
from attnprof.core.records import Record
from attnprof.measure.static_costs import estimate_records
from attnprof.options import read_cases
from attnprof.report.columns import COMPARE_COLUMNS
from attnprof.report.terminal_table import render_table


def measured(**measurements: dict[tuple[str, int], float]) -> ResultTable:
    """transformers' kernels at the default lengths, with measurements for some of them."""
    cases = read_cases({"kernel": ["bert-eager", "bert-sdpa", "longformer-hf"]}, "cpu")
    table = ResultTable(estimate_records(cases))
    for quantity, values in measurements.items():
        for (kernel, seq_len), value in values.items():
            (case,) = (
                case for case in cases if (case.kernel, case.workload.seq_len) == (kernel, seq_len)
            )
            table.add(Record(kernel, case.workload, quantity, value))
    return table


def times(**by_kernel: list[float]) -> dict[tuple[str, int], float]:
    return {
        (kernel.replace("_", "-"), seq_len): value
        for kernel, values in by_kernel.items()
        for seq_len, value in zip((512, 1024, 4096), values, strict=True)
    }


def rendered(table: ResultTable, width: int) -> str:
    console = Console(width=width, record=True, file=None, quiet=False, color_system=None)
    with console.capture() as capture:
        console.print(render_table(table, COMPARE_COLUMNS, width))
    return capture.get()


def timed_table() -> ResultTable:
    """transformers' kernels with times and with ptflops' counts of one, as `compare` has them."""
    table = measured(
        time_ns=times(
            bert_eager=[20_000_000, 60_000_000, 900_000_000],
            bert_sdpa=[15_400_000, 41_800_000, 422_000_000],
            longformer_hf=[30_000_000, 55_000_000, 190_000_000],
        ),
        ptflops_pytorch_macs=times(bert_sdpa=[907_149_312, 1_814_298_624, 7_257_194_496]),
    )
    table.environment = {"processor": "EPYC", "threads": 2, "packages": {"torch": "2.13.0"}}
    table.command = "attnprof compare --html costs.html"
    return table
