"""Maximum lengths in available memory against a search through every length."""

from __future__ import annotations

import pytest
from samples import compared

import attnprof
from attnprof import Workload, kernels
from attnprof.analysis import findings
from attnprof.analysis.findings.max_length import max_length
from attnprof.core.units import format_long_duration
from attnprof.report.columns import COMPARE_COLUMNS
from attnprof.report.markdown import render_markdown
from attnprof.report.summary import describe_findings


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ("bert-eager", {}),
        ("bert-sdpa", {}),
        ("longformer-hf", {"window": 64}),
        ("longformer-banded", {"window": 32}),
        ("longformer-banded", {"window": 32, "mode": "training"}),
        ("longformer-masked", {"window": 32, "global_tokens": "@40"}),
    ],
)
@pytest.mark.parametrize("available", [2_000_000, 4_000_000])
def test_maximum_length_equals_a_search_through_every_length(
    kernel: str, options: dict[str, object], available: int
) -> None:
    small = {"hidden_size": 64, "num_heads": 4, "len": 128, "kernel": kernel, **options}
    table = attnprof.estimate(**small)  # type: ignore[arg-type]
    table.available_bytes = available
    (finding,) = findings.find(table).max_lengths
    workload, module = table.rows[0].workload, kernels.find(kernel)

    def needed(workload: Workload) -> int:
        return module.static_bytes(workload) + module.peak_bytes(workload)

    shortest = 41 if "global_tokens" in options else 1
    limit = 2 * finding.longest + 200
    fitting = [n for n in range(shortest, limit) if needed(workload.at(n)) <= available]
    assert finding.longest == max(fitting)
    assert finding.time is None


def test_maximum_length_where_nothing_or_everything_fits_or_the_need_is_unknown() -> None:
    assert max_length(lambda n: 10 + n, 10) == 0
    assert max_length(lambda n: 10 + n, 11) == 1
    assert max_length(lambda n: 10, 11) is None
    assert max_length(lambda n: None if n > 100 else n, 1000) is None
    for available in range(1, 200):
        assert max_length(lambda n: 3 * n * n, 3 * available**2) == available


def test_maximum_length_is_reported_with_its_time_only_where_the_memory_is_known() -> None:
    table = compared()
    heading = "Maximum length in available memory"
    assert heading not in dict(describe_findings(findings.find(table)))
    table.available_bytes = 2**30
    (line,) = dict(describe_findings(findings.find(table)))[heading]
    (finding,) = findings.find(table).max_lengths
    assert finding.time is not None
    assert line == (
        f"bert-eager: up to {finding.longest:,} tokens in 1.00 GiB; "
        f"predicted time ≈ {format_long_duration(finding.time.time_ns)} "
        f"({format_long_duration(finding.time.low_ns)} to "
        f"{format_long_duration(finding.time.high_ns)})."
    )
    truth = 0.01 * kernels.find("bert-eager").executed_macs(
        table.rows[0].workload.at(finding.longest)
    )
    assert finding.time.time_ns == pytest.approx(truth, rel=1e-4)
    assert f"**{heading}**" in render_markdown(table, COMPARE_COLUMNS)
    table.available_bytes = 1000
    assert dict(describe_findings(findings.find(table)))[heading] == [
        "bert-eager: no length fits in 1000 B."
    ]


def test_maximum_length_of_a_custom_kernel_follows_its_counts() -> None:
    table = attnprof.estimate(
        kernel="mixers:Chunked", len=[64, 128], hidden_size=64, num_heads=4, no_isolation=True
    )
    (row, _) = table.rows
    table.available_bytes = 5_000_000
    (finding,) = findings.find(table).max_lengths
    module = kernels.find(row.kernel)

    def needed(n: int) -> int:
        workload = row.workload.at(n)
        return module.static_bytes(workload) + module.peak_bytes(workload)

    assert needed(finding.longest) <= table.available_bytes < needed(finding.longest + 1)
