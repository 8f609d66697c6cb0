"""Tables of literal records, and the files they go to."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from result_tables import DENSE, WORKLOAD, table

from attnprof import AttentionPattern, AttentionStack, ResultTable, Workload
from attnprof.core.records import CASE, UNITS, Record
from attnprof.core.result_table import COLUMNS

CONTRACT = (
    "kernel, seq_len, padded_seq_len, window, dilation, global_tokens, hidden_size, num_heads, "
    "batch_size, dtype, device, mode, status, detail, params, useful_macs, executed_macs, "
    "ptflops_pytorch_macs, ptflops_aten_macs, torch_macs, operator_macs, predicted_peak_bytes, "
    "peak_bytes, time_ns, time_low_ns, time_high_ns, speedup"
)


def test_columns_are_the_contracts() -> None:
    assert ", ".join(COLUMNS) == CONTRACT
    assert set(UNITS) <= set(COLUMNS)


def test_csv_has_raw_integers_and_empty_cells() -> None:
    one, two = csv.DictReader(io.StringIO(table().to_csv()))
    assert one["useful_macs"] == "12345678901234"
    assert (one["window"], one["dilation"], one["global_tokens"]) == ("8", "1x2:4", "@0:7")
    assert (one["torch_macs"], one["time_ns"], one["speedup"]) == ("", "", "0.5")
    assert (one["status"], one["detail"]) == ("ok", "torch_macs is empty: why; noisy, or so")
    assert (two["window"], two["dilation"], two["global_tokens"]) == ("", "", "")
    assert (two["status"], two["detail"]) == ("skipped", "needs more")


def test_json_and_json_lines_hold_the_same_values() -> None:
    document = json.loads(table().to_json({"cores": 2}))
    assert document["environment"] == {"cores": 2}
    assert [list(row) for row in document["rows"]] == [list(COLUMNS)] * 2
    lines = [json.loads(line) for line in table().to_json_lines().splitlines()]
    assert len(lines) == 6
    assert lines[0]["value"] == document["rows"][0]["useful_macs"] == 12_345_678_901_234
    assert (lines[0]["unit"], lines[0]["quantity"]) == ("MAC", "useful_macs")
    assert lines[1]["detail"] == "torch_macs is empty: why"


def test_pandas_keeps_integers_whole() -> None:
    frame = table().to_pandas()
    assert list(frame.columns) == list(COLUMNS)
    assert frame["useful_macs"].tolist() == [12_345_678_901_234, 3]
    assert str(frame["time_ns"].dtype) == "Int64"
    assert frame["time_ns"].isna().all()


def test_rows_are_cases_that_were_closed() -> None:
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


def test_dense_stacks_say_how_many_layers_they_are() -> None:
    layer = AttentionPattern.sliding(8, num_heads=3)
    stack = Workload(AttentionStack(layers=(layer, layer)), 64, 12)
    for workload, detail in ((stack, ""), (stack.densified(), "stack of 2 layers")):
        (row,) = ResultTable([Record("one", workload, CASE)]).rows
        assert row.cells()["detail"] == detail


def test_whole_layers_say_that_they_are() -> None:
    layer = AttentionPattern.sliding(8, num_heads=3)
    stack = AttentionStack(layers=(layer,) * 12)
    for pattern, detail in ((layer, "whole layer"), (stack, "12 whole layers")):
        sparse = Workload(pattern, 64, 12, scope="layer")
        for workload in (sparse, sparse.densified()):
            (row,) = ResultTable([Record("one", workload, CASE)]).rows
            assert row.cells()["detail"] == detail


def test_json_lines_keep_scopes_and_depths_apart() -> None:
    pair = AttentionStack(layers=(AttentionPattern.dense(3),) * 2)
    alike = [DENSE, replace(DENSE, scope="layer"), replace(DENSE, pattern=pair, scope="layer")]
    lines = ResultTable([Record("one", each, "params", 1) for each in alike]).to_json_lines()
    told = [(line["layers"], line["scope"]) for line in map(json.loads, lines.splitlines())]
    assert told == [(1, "attention"), (1, "layer"), (2, "layer")]


@pytest.mark.parametrize(
    ("status", "failed"),
    [("ok", False), ("unsupported", False), ("skipped", False), ("oom", True), ("error", True)],
)
def test_failures_are_measurements_that_were_begun(status: str, failed: bool) -> None:
    record = Record("one", WORKLOAD, CASE, None, status)  # type: ignore[arg-type]
    assert ResultTable([record]).has_failures is failed
