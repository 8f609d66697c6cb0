"""Every table fits 80 columns: no line is longer, no word is broken, no number is cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import MACHINE, SAMPLE
from measured_tables import measured, times
from rich.text import Text

from attnprof import AttentionPattern, ResultTable, Workload
from attnprof.analysis.audit_table import AuditRow, AuditTable
from attnprof.analysis.breakdown_table import Breakdown, Part
from attnprof.analysis.predictions import with_predictions
from attnprof.cli.kernels import KernelListing, render_listings
from attnprof.core.machine import KernelSample
from attnprof.core.records import Record
from attnprof.core.workload import Case
from attnprof.measure.static_costs import estimate_records
from attnprof.options import read_cases
from attnprof.report.audit import render_audit
from attnprof.report.breakdown import render_breakdown
from attnprof.report.columns import COMPARE_COLUMNS, ESTIMATE_COLUMNS
from attnprof.report.doctor import render_doctor
from attnprof.report.overview.model import Overview, OverviewTable
from attnprof.report.terminal_overview import render_overview
from attnprof.report.terminal_table import render_table
from attnprof.report.text_table import UNBOUNDED, TextRow, fit_table

FUSED = "aten._scaled_dot_product_flash_attention_for_cpu"
CUSTOM = "transformers.models.longformer.modeling_longformer:LongformerLayer"


def kernels_table(width: int) -> Text:
    listings = [
        KernelListing("longformer-flex", "any pattern; PyTorch's FlexAttention, compiled", ""),
        KernelListing(
            "longformer-hf",
            "sliding window and globals; transformers' LongformerSelfAttention, no dilation",
            "pads to the widest window, 512, which is not a multiple of window 48",
        ),
    ]
    return render_listings(listings, width)


def breakdown_table(width: int) -> Text:
    path = "longformer.encoder.layer.11.attention.self"
    parents = [".".join(path.split(".")[:depth]) for depth in range(1, 7)]
    parts = [
        Part(CUSTOM, 4096, "module", name, 1_234_567, 1_234_567_890_123, 1.0, 1.98)
        for name in ("", *parents)
    ]
    operators = [
        Part(CUSTOM, 4096, "operator", FUSED, 12, 1_234_567_890_123, 1.0, 2.0),
        Part(CUSTOM, 4096, "operator", "my_extension::attention_with_a_bias", 1, None, None),
    ]
    return render_breakdown(Breakdown([*parts, *operators], []), width)


def estimate_table(width: int) -> Text:
    options = {"len": [512, 1 << 20], "window": [64, 512], "dilation": ["1", "1x10:4x2"]}
    sample = replace(MACHINE.kernel_samples[0], kernel="longformer-banded")
    machine = replace(MACHINE, kernel_samples=(sample, *MACHINE.kernel_samples))
    table = ResultTable(with_predictions(estimate_records(read_cases(options, "cpu")), machine))
    return render_table(table, ESTIMATE_COLUMNS, width)


def compare_table(width: int) -> Text:
    table = measured(
        time_ns=times(bert_sdpa=[15e6, 41e6, 422e6], longformer_hf=[99e6, 2e8, 1.234e12]),
        speedup=times(longformer_hf=[0.151, 0.2, 0.00034]),
        ptflops_pytorch_macs=times(bert_sdpa=[907_149_312, 1_814_298_624, 7_257_194_496]),
        peak_bytes=times(bert_sdpa=[10**7, 10**8, 10**9], longformer_hf=[10**7, 10**8, 10**9]),
    )
    workload = Workload(AttentionPattern.dense(), 4096)
    table.add(Record(CUSTOM, workload, "executed_macs", 33_017_561_088))
    return render_table(table, COMPARE_COLUMNS, width)


def audit_table(width: int) -> Text:
    case = Case(CUSTOM, Workload(AttentionPattern.dense(), 4096))
    rows = [
        AuditRow(case, "operator", 10**15, 10**15),
        AuditRow(case, "ptflops_aten", 10**15, 10**15 - 7, {f"{FUSED[5:]} not counted": -6}),
        AuditRow(
            case, "calflops", 10**15, failure="crash: RuntimeError: the size of tensor a " * 3
        ),
    ]
    return render_audit(AuditTable(rows, []), width)


def doctor_tables(width: int) -> Text:
    samples = tuple(
        KernelSample(
            kernel="longformer-banded",
            dtype="float32",
            mode="inference",
            scope="attention",
            sample=replace(SAMPLE, seq_len=2**exponent),
        )
        for exponent in range(7, 15)
    )
    packages = {f"a-package-{i}": f"{i}.0.0" for i in range(12)}
    machine = replace(
        MACHINE,
        kernel_samples=samples,
        environment={**MACHINE.environment, "packages": packages},
    )
    tables = [section.table for section in render_doctor(machine, width) if section.table]
    return Text("\n").join(tables)


TABLES = [
    kernels_table, breakdown_table, estimate_table, compare_table, audit_table, doctor_tables,
]  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_no_line_is_longer_than_eighty_characters_and_no_word_is_broken(
    table: Callable[[int], Text],
) -> None:
    narrow, wide = table(80).plain, table(UNBOUNDED).plain
    assert max(map(len, narrow.splitlines())) <= 80
    assert max(map(len, wide.splitlines())) > 80
    assert set(narrow.split()) <= set(wide.split())


@pytest.mark.parametrize("table", [kernels_table, breakdown_table, audit_table])
def test_nothing_is_left_out_of_a_narrow_table(table: Callable[[int], Text]) -> None:
    assert Counter(table(80).plain.split()) == Counter(table(UNBOUNDED).plain.split())


_WORDS = st.text("abcdefgh", min_size=1, max_size=12)
_NUMBERS = st.integers(0, 10**9).map(str)


@given(
    st.lists(st.tuples(_WORDS, _NUMBERS, _NUMBERS, st.lists(_WORDS).map(" ".join)), min_size=1),
    st.integers(26, 120),
)
def test_a_table_fits_any_width_that_its_words_fit(rows: list[tuple[str, ...]], width: int) -> None:
    text = fit_table(("", "", "", ""), [TextRow(row) for row in rows], width, prose=(3,)).plain
    assert max(map(len, text.splitlines())) <= width
    shown = Counter(text.split())
    assert shown >= Counter(word for row in rows for cell in row for word in cell.split())


def test_a_long_name_stands_above_its_numbers() -> None:
    rows = [TextRow(("a_name_of_24_characters_", "1")), TextRow(("b", "23"))]
    assert fit_table(("part", "MACs"), rows, 20).plain.splitlines() == [
        "part            MACs",
        "a_name_of_24_characters_",
        "                   1",
        "b                 23",
    ]


def test_numbers_move_closer_where_that_is_enough() -> None:
    rows = [TextRow(("name", "123456", "1234567"))]
    assert fit_table(("", "a", "b"), rows, 21).plain.splitlines()[1] == "name  123456  1234567"
    assert fit_table(("", "a", "b"), rows, 20).plain.splitlines()[1] == "name 123456 1234567"


def test_columns_that_do_not_fit_follow_below() -> None:
    rows = [TextRow(("all",)), TextRow(("n", "123456", "1234567", "1"))]
    assert fit_table(("k", "a", "b", "c"), rows, 12).plain.splitlines() == [
        "k      a",
        "all",
        "n 123456",
        "",
        "k       b c",
        "all",
        "n 1234567 1",
    ]


def test_without_a_verdict_one_line_is_empty() -> None:
    table = OverviewTable("MACs", ("128",), (("bert-sdpa", "251.7 M"),))
    parts = list(render_overview(Overview("heading", "setting", (), (table,)), 80))
    assert [str(part) for part in parts[:-1]] == ["heading", "setting", ""]
