"""Tables of literal records, as CSV, JSON and pandas."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from result_tables import DENSE, WORKLOAD, table

from attnprof import AttentionPattern, AttentionStack, ResultTable, Workload
from attnprof.core.records import CASE, COLUMN_UNITS, Record
from attnprof.core.result_table import COLUMNS

CONTRACT = (
    "kernel, seq_len, padded_seq_len, window, dilation, global_tokens, hidden_size, num_heads, "
    "batch_size, dtype, device, mode, status, detail, params, useful_macs, executed_macs, "
    "ptflops_pytorch_macs, ptflops_aten_macs, torch_macs, operator_macs, predicted_peak_bytes, "
    "peak_bytes, time_ns, time_low_ns, time_high_ns, speedup"
)

ADDED = (
    "causal, kv_heads, head_dim, value_dim, new_tokens, pattern, cache_bytes, "
    "min_bytes, intensity, bound, utilisation, useful_utilisation, machine"
)
"""Columns after those of the contract."""


def test_columns_keep_their_names_and_order() -> None:
    assert ", ".join(COLUMNS) == f"{CONTRACT}, {ADDED}"
    assert set(COLUMN_UNITS) <= set(COLUMNS)


def test_csv_has_raw_integers_and_empty_cells() -> None:
    sparse, dense = csv.DictReader(io.StringIO(table().to_csv()))
    assert sparse["useful_macs"] == "12345678901234"
    assert (sparse["window"], sparse["dilation"], sparse["global_tokens"]) == ("8", "1x2:4", "@0:7")
    assert (sparse["torch_macs"], sparse["time_ns"], sparse["speedup"]) == ("", "", "0.5")
    assert (sparse["status"], sparse["detail"]) == ("ok", "torch_macs is empty: why; noisy, or so")
    assert (dense["window"], dense["dilation"], dense["global_tokens"]) == ("", "", "")
    assert (dense["status"], dense["detail"]) == ("skipped", "needs more")


def test_json_and_json_lines_hold_the_same_values() -> None:
    document = json.loads(table().to_json({"cores": 2}))
    assert document["environment"] == {"cores": 2}
    added = ["layers", "scope", "setting", "quantities", "notes"]
    assert [list(row) for row in document["rows"]] == [[*COLUMNS, *added]] * 2
    lines = [json.loads(line) for line in table().to_json_lines().splitlines()]
    assert len(lines) == 6
    assert lines[0]["value"] == document["rows"][0]["useful_macs"] == 12_345_678_901_234
    assert (lines[0]["unit"], lines[0]["quantity"]) == ("MAC", "useful_macs")
    assert lines[1]["detail"] == "torch_macs is empty: why"


def test_pandas_keeps_integers_exact() -> None:
    frame = table().to_pandas()
    assert list(frame.columns) == list(COLUMNS)
    assert frame["useful_macs"].tolist() == [12_345_678_901_234, 3]
    assert str(frame["time_ns"].dtype) == "Int64"
    assert frame["time_ns"].isna().all()


def test_only_closed_cases_are_rows() -> None:
    table = ResultTable(
        [
            Record("estimated", WORKLOAD, "useful_macs", 5),
            Record("counted", WORKLOAD, "torch_macs", 5),
        ]
    )
    assert (table.rows, table.num_rows) == ([], 0)
    table.close("error", "interrupted")
    (row,) = table.rows
    assert (row.kernel, row.status, row.detail) == ("counted", "error", "interrupted")


def test_the_detail_of_a_dense_stack_is_its_number_of_layers() -> None:
    layer = AttentionPattern.sliding(8, num_heads=3)
    stack = Workload(AttentionStack(layers=(layer, layer)), 64, 12)
    for workload, detail in ((stack, ""), (stack.densified(), "stack of 2 layers")):
        (row,) = ResultTable([Record("one", workload, CASE)]).rows
        assert row.cells()["detail"] == detail


def test_the_detail_of_whole_layers_says_so() -> None:
    layer = AttentionPattern.sliding(8, num_heads=3)
    stack = AttentionStack(layers=(layer,) * 12)
    for pattern, detail in ((layer, "whole layer"), (stack, "12 whole layers")):
        sparse = Workload(pattern, 64, 12, scope="layer")
        for workload in (sparse, sparse.densified()):
            (row,) = ResultTable([Record("one", workload, CASE)]).rows
            assert row.cells()["detail"] == detail


def test_json_lines_distinguish_scopes_and_numbers_of_layers() -> None:
    pair = AttentionStack(layers=(AttentionPattern.dense(3),) * 2)
    similar = [DENSE, replace(DENSE, scope="layer"), replace(DENSE, pattern=pair, scope="layer")]
    records = [Record("one", workload, "params", 1) for workload in similar]
    lines = ResultTable(records).to_json_lines()
    extents = [(line["layers"], line["scope"]) for line in map(json.loads, lines.splitlines())]
    assert extents == [(1, "attention"), (1, "layer"), (2, "layer")]


@pytest.mark.parametrize(
    ("status", "failed"),
    [("ok", False), ("unsupported", False), ("skipped", False), ("oom", True), ("error", True)],
)
def test_failures_are_cases_that_were_begun_and_failed(status: str, failed: bool) -> None:
    record = Record("one", WORKLOAD, CASE, None, status)  # type: ignore[arg-type]
    assert ResultTable([record]).has_failures is failed
