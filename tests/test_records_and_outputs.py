"""Tables of literal records, and the files they go to."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attnprof import AttentionPattern, AttentionStack, ResultTable, Workload
from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.records import CASE, UNITS, Record
from attnprof.core.result_table import COLUMNS
from attnprof.report import outputs as saving
from attnprof.report.outputs import Outputs

CONTRACT = (
    "kernel, seq_len, padded_seq_len, window, dilation, global_tokens, hidden_size, num_heads, "
    "batch_size, dtype, device, mode, status, detail, params, useful_macs, executed_macs, "
    "ptflops_pytorch_macs, ptflops_aten_macs, torch_macs, operator_macs, predicted_peak_bytes, "
    "peak_bytes, time_ns, time_low_ns, time_high_ns, speedup"
)
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


def outputs(**paths: str) -> Outputs:
    renderers = {
        "csv": ResultTable.to_csv,
        "json": lambda table: "{}",
        "png": lambda table: b"\x89",
    }
    return Outputs.read(paths, renderers)  # type: ignore[arg-type]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_are_written_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    path.chmod(0o640)
    outputs(csv=str(path), png=str(tmp_path / "out.png")).save(table())
    assert path.read_text() == table().to_csv()
    assert path.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "out.png").read_bytes() == b"\x89"
    assert names_in(tmp_path) == ["out.csv", "out.png"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    writer = outputs(csv=str(path), json=str(tmp_path / "out.json"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MeasurementError, match=r"--csv .*out.csv: .*No space left.*; --json"):
        writer.save(table())
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["out.csv"]


def test_links_are_followed_and_kept(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    outputs(csv=str(tmp_path / "link.csv")).save(table())
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == table().to_csv()


def test_devices_are_written_and_not_replaced() -> None:
    outputs(csv="/dev/null").save(table())
    assert not Path("/dev/null").is_file()
    with pytest.raises(MeasurementError, match="No space left"):
        outputs(csv="/dev/full").save(table())


def test_stdout_gets_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    writer = outputs(csv="-")
    assert writer.takes_stdout
    writer.save(table())
    assert capsys.readouterr().out == table().to_csv()


def test_paths_that_cannot_be_written_are_refused_before_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cases = {
        str(tmp_path / "missing" / "x.csv"): "there is no folder",
        str(tmp_path): "is a folder",
        str(tmp_path / "file" / "x.csv"): "there is no folder",
    }
    for path, message in cases.items():
        with pytest.raises(UsageError, match=message):
            outputs(csv=path)
    with pytest.raises(UsageError, match="is what csv is written to"):
        outputs(csv=str(tmp_path / "a"), json=str(tmp_path / "a"))
    assert names_in(tmp_path) == ["file"]


def test_text_files_are_saved_while_rows_come_in(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    path = tmp_path / "out.csv"
    writer = outputs(csv=str(path), json=str(fifo), png=str(tmp_path / "out.png"))
    writer.save_files(table())
    assert path.read_text() == table().to_csv()
    assert names_in(tmp_path) == ["fifo", "out.csv"]


def test_an_empty_path_is_refused_and_dev_stdout_is_a_dash() -> None:
    with pytest.raises(UsageError, match="name a file"):
        outputs(csv="")
    assert outputs(csv="/dev/stdout").takes_stdout


def test_only_what_was_written_last_is_told_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv_file, json_file = str(tmp_path / "a.csv"), str(tmp_path / "a.json")
    options: Any = {"csv": csv_file, "json": json_file, "markdown": "-"}
    render: Any = dict.fromkeys(("csv", "json", "markdown"), str)
    written: Outputs[str] = Outputs.read(options, render)
    assert written.written == []
    written.save_files("rows")
    assert written.written == [csv_file, json_file]

    def is_full(path: Path, content: bytes) -> None:
        if path == Path(csv_file):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "replace_file", is_full)
    with pytest.raises(MeasurementError, match=r"a\.csv: could not be written"):
        written.save("more rows")
    assert written.written == [json_file]
