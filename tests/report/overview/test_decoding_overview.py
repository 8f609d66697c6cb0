"""What the overview of decoding says: the setting, what a token reads, the cache and its growth."""

from __future__ import annotations

import pytest

import attnprof
from attnprof.report.charts.curves import growth_of
from attnprof.report.charts.growth_panel import axis_title
from attnprof.report.charts.headings import growth_heading
from attnprof.report.overview import overview_of
from attnprof.report.overview.model import Overview
from attnprof.report.run import Run

KERNELS = ["bert-sdpa", "longformer-masked", "longformer-banded"]


@pytest.fixture(scope="module")
def table() -> attnprof.ResultTable:
    return attnprof.estimate(kernel=KERNELS, len=[4096, 32768], window=512, mode="decode")


@pytest.fixture(scope="module")
def overview(table: attnprof.ResultTable) -> Overview:
    return overview_of(table)


def test_the_setting_says_how_many_tokens_are_decoded_where(overview: Overview) -> None:
    assert overview.heading.endswith("CPU, decoding 1 token at the context length")
    assert "causal" in overview.heading, "decoding implies it"


def test_the_verdict_has_what_a_token_reads(overview: Overview) -> None:
    """3 (D^2 + D) weights and 2 n D, or 2 (w - 1) D, numbers of cache, of 4 bytes each."""
    weights, cached = 3 * (768**2 + 768) * 4, 2 * 511 * 768 * 4
    assert (round(weights / 2**20, 2), round(cached / 2**20, 2)) == (6.76, 2.99)
    (sentence,) = [text for text in overview.verdict if "has to read" in text]
    assert sentence == (
        "Each new token at 32,768 tokens has to read 6.76 MiB of weights and 192 MiB of cache with "
        "bert-sdpa; 6.76 MiB of weights and 2.99 MiB of cache with longformer-masked and "
        "longformer-banded."
    )


def test_the_table_has_the_cache_and_how_it_grows(overview: Overview) -> None:
    longest = overview.tables[-1]
    cells = {row[0]: dict(zip(longest.columns, row[1:], strict=True)) for row in longest.rows}
    assert [cells[name]["cache"] for name in KERNELS] == ["192 MiB", "192 MiB", "3.00 MiB"]
    assert [cells[name]["cache grows"] for name in KERNELS] == ["n", "n", "constant"]
    assert [cells[name]["grows"] for name in KERNELS] == ["n", "n", "constant"]


def test_a_kernel_that_keeps_more_than_it_needs_says_so(table: attnprof.ResultTable) -> None:
    rows = {row.kernel: row for row in table.rows if row.workload.seq_len == 32768}
    assert "allocates 192 MiB (3.00 MiB needed)" in rows["longformer-masked"].detail
    assert rows["bert-sdpa"].detail == ""


def test_charts_are_drawn_against_the_context_length(table: attnprof.ResultTable) -> None:
    runs = [Run("", table)]
    growth = growth_of(runs)
    assert axis_title(growth.axis, is_decoding=growth.is_decoding) == "context length (tokens)"
    assert growth_heading(runs, growth) == "MACs, memory and cache against context length"
    assert {panel.quantity.name for panel in growth.panels} >= {"cache_bytes", "executed_macs"}
