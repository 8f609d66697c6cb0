"""Saved results: what is read back is what was saved, whatever wrote it and whoever reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from estimate_in_process import estimate
from journals import KEY
from machines import MACHINE
from saved_tables import ENDINGS, ENVIRONMENT, run

import attnprof
from attnprof import ResultTable, kernels
from attnprof.analysis import findings
from attnprof.analysis.recorded_costs import recorded_costs
from attnprof.core.errors import UsageError
from attnprof.core.records import CASE, WITHHELD, Record
from attnprof.core.saved_costs import SavedCosts
from attnprof.options import GridOptions
from attnprof.report.journal import Journal
from attnprof.report.saved import read_runs, read_table
from attnprof.report.side_by_side import side_by_side
from attnprof.report.summary import describe_findings

SMALL: dict[str, Any] = {"hidden_size": 64, "num_heads": 4}


def with_machine() -> ResultTable:
    table = run(endings=ENDINGS)
    table.machine = MACHINE
    return table


def with_disturbance() -> ResultTable:
    """A case whose verdict was withheld, and two notes on one row, one of them on a quantity."""
    table = run()
    row = table.rows[-1]
    reason = "not measurable now: other processes; close them"
    table.add(Record(row.kernel, row.workload, WITHHELD, 1, "ok", reason))
    table.add(
        Record(row.kernel, row.workload, "torch_macs", None, "error", "torch_macs is empty: why")
    )
    return table


TABLES: dict[str, Callable[[], ResultTable]] = {
    "every status": with_machine,
    "a withheld verdict": with_disturbance,
    "whole layers": lambda: run({"len": [64, 128], "window": 16, "scope": "layer"}),
    "a stack": lambda: run({"len": 64, "window": "16:32", "dilation": "1x10:4x2/2"}),
    "training in float16": lambda: run({"len": 64, "mode": "training", "dtype": "float16"}),
    "positions": lambda: run({"len": 64, "window": 16, "global_tokens": ["0", "@3:9"]}),
    "an estimate": lambda: attnprof.estimate(len=[512, "64k"], scope="stack"),
    "a custom kernel": lambda: estimate(
        kernel=["mixers:Chunked", "bert-sdpa"], len=[64, 128], **SMALL
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_what_is_read_back_is_what_was_saved(name: str, tmp_path: Path) -> None:
    table = TABLES[name]()
    path = tmp_path / "costs.json"
    path.write_text(table.to_json())
    read = read_table(str(path), ResultTable)
    assert [row.workload for row in read.rows] == [row.workload for row in table.rows]
    for ours, theirs in zip(read.rows, table.rows, strict=True):
        assert ours.values == theirs.values
        assert (ours.kernel, ours.status, ours.details, ours.withheld) == (
            theirs.kernel,
            theirs.status,
            theirs.details,
            theirs.withheld,
        )
    for attribute in ("environment", "available_bytes", "machine", "command", "finished_at"):
        assert getattr(read, attribute) == getattr(table, attribute)
    assert read.to_json() == table.to_json()
    assert read.to_csv() == table.to_csv()


def test_keys_of_earlier_versions_keep_their_place_and_meaning() -> None:
    document = json.loads(run(endings=ENDINGS).to_json())
    assert document["schema"] == 1
    assert document["environment"] == ENVIRONMENT
    row = document["rows"][0]
    assert list(row)[: len(list(run().rows[0].cells()))] == list(run().rows[0].cells())


def of_an_earlier_version(table: ResultTable) -> dict[str, Any]:
    """The file that the version before saved results could be shown again wrote."""
    document = json.loads(table.to_json())
    added = ("layers", "scope", "quantities", "notes")
    rows = [{key: row[key] for key in row if key not in added} for row in document["rows"]]
    return {"schema": 1, "environment": document["environment"], "rows": rows}


@pytest.mark.parametrize("name", ["every status", "whole layers", "a stack", "an estimate"])
def test_files_of_earlier_versions_have_the_same_rows_and_verdicts(
    name: str, tmp_path: Path
) -> None:
    table = TABLES[name]()
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(of_an_earlier_version(table)))
    read = read_table(str(path), ResultTable)
    assert [row.cells() for row in read.rows] == [row.cells() for row in table.rows]
    assert [row.workload for row in read.rows] == [row.workload for row in table.rows]
    for ours, theirs in zip(read.rows, table.rows, strict=True):
        verdicts = [row.verdict and row.verdict.outcome for row in (ours, theirs)]
        assert verdicts[0] == verdicts[1]


def test_files_of_earlier_versions_have_the_same_lengths_without_a_verdict(tmp_path: Path) -> None:
    table = with_disturbance()
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(of_an_earlier_version(table)))
    read = read_table(str(path), ResultTable)
    assert [row.cells() for row in read.rows] == [row.cells() for row in table.rows]
    assert [bool(row.withheld) for row in read.rows] == [bool(row.withheld) for row in table.rows]


def findings_of(table: ResultTable) -> list[tuple[str, list[str]]]:
    return describe_findings(findings.find(table))


@pytest.mark.parametrize("name", ["Dense", "BlockSqrt", "Windowed"])
def test_custom_kernels_have_the_same_findings_without_their_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = ResultTable(
        estimate(kernel=[f"mixers:{name}", "bert-sdpa"], len=[64, 192], **SMALL).records
    )
    table.available_bytes = 5_000_000
    expected = findings_of(table)
    table.saved_costs = recorded_costs(table)
    path = tmp_path / "costs.json"
    path.write_text(table.to_json())

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} was looked up")

    monkeypatch.setattr(kernels.custom, "find", refuse)
    assert findings_of(table) == expected
    assert findings_of(read_table(str(path), ResultTable)) == expected


@pytest.mark.parametrize("num_globals", [1, 100])
def test_kernels_that_this_version_does_not_know_follow_from_their_rows(
    num_globals: int, tmp_path: Path
) -> None:
    options: GridOptions = {
        "kernel": ["bert-sdpa", "longformer-hf"],
        "len": [512, 1024],
        "window": 64,
        "global_tokens": num_globals,
    }
    table = run(options)
    path = tmp_path / "costs.json"
    path.write_text(table.to_json().replace("longformer-hf", "longformer-next"))
    read = read_table(str(path), ResultTable)
    assert isinstance(read.saved_costs["longformer-next"], SavedCosts)
    lines = dict(findings_of(read))["Growth of executed MACs"]
    assert any("longformer-next: grows as n^" in line for line in lines)


def test_unknown_kernels_with_globals_are_not_compared_below_their_positions(
    tmp_path: Path,
) -> None:
    options: GridOptions = {
        "kernel": ["longformer-hf", "longformer-banded"],
        "len": [512, 1024],
        "window": 64,
        "global_tokens": 100,
    }
    path = tmp_path / "costs.json"
    path.write_text(run(options).to_json().replace('"longformer-', '"next-'))
    assert findings_of(read_table(str(path), ResultTable))


def journal_of(table: ResultTable, path: Path, *, open_cases: int = 0) -> None:
    """The journal of a run that was killed in its last cases."""
    journal = Journal(path, KEY, is_resumed=False)
    closing = [record for record in table.records if record.quantity == CASE]
    dropped = closing[len(closing) - open_cases :]
    for record in table.records:
        if record not in dropped:
            journal.add(record)
    journal.close()


def test_a_journal_of_an_interrupted_run_has_its_finished_rows(tmp_path: Path) -> None:
    table = run()
    path = tmp_path / "costs.jsonl"
    journal_of(table, path, open_cases=1)
    with path.open("a") as file:
        file.write('{"kernel": "longf')  # a killed run ends within a line
    read = read_table(str(path), ResultTable)
    assert read.environment == KEY.machine
    *finished, last = read.rows
    assert [row.cells() for row in finished] == [row.cells() for row in table.rows[:-1]]
    assert (last.status, last.details[-1]) == ("error", "interrupted before it finished")


def test_records_of_another_machine_are_not_mixed_with_those_of_the_last(tmp_path: Path) -> None:
    path = tmp_path / "costs.jsonl"
    journal_of(run({"kernel": "bert-sdpa", "len": 64}), path)
    other = path.read_text().replace('"processor": "one"', '"processor": "other"')
    journal_of(run({"kernel": "bert-sdpa", "len": 128}), tmp_path / "next.jsonl")
    path.write_text(other + (tmp_path / "next.jsonl").read_text())
    assert [row.workload.seq_len for row in read_table(str(path), ResultTable).rows] == [128]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.csv", "", "must end in .json or .jsonl"),
        ("x.json", "", "is not valid JSON"),
        ("x.json", "[]", "is not a JSON object"),
        ("x.json", '{"format": "attnprof machine"}', "rows is missing"),
        ("x.json", '{"rows": []}', "schema is None, but this attnprof reads 1"),
        ("x.json", '{"schema": 1, "rows": []}', "has no finished rows"),
        ("x.json", '{"schema": 1, "rows": [3]}', "rows[0] is not an object"),
        ("x.json", '{"schema": 1, "rows": [{}]}', "rows[0].seq_len is missing"),
        ("x.json", b"\xff\xfe", "is not text in UTF-8"),
        ("x.jsonl", "", "is not a journal"),
        ("x.jsonl", "{}\n", "is damaged in line 1"),
        ("x.jsonl", '{"attnprof_journal": 2}\n', "is a journal of another version"),
    ],
)
def test_other_files_are_refused_in_one_sentence(
    name: str, content: str | bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as raised:
        read_table(str(path), ResultTable)
    assert raised.value.argument == "results"
    assert reason in raised.value.expected
    assert "\n" not in raised.value.expected


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("dtype", "float8", "rows[0].dtype is not one of"),
        ("window", "15", "rows[0].window 15: must be an even number"),
        ("num_heads", 10**9, "rows[0].num_heads 1000000000"),
        ("seq_len", 10**16, "rows[0].seq_len 10000000000000000: must be at most"),
        ("time_ns", -1, "rows[0].time_ns is not a whole number"),
        ("time_ns", 0, "rows[0].time_ns must be more than 0"),
        ("speedup", float("nan"), "rows[0].speedup is not a number"),
        ("status", "fine", "rows[0].status is not one of"),
        ("notes", [{"quantity": "case"}], "rows[0].notes[0].status is missing"),
        ("quantities", {"rounds": "many"}, "rows[0].rounds is not a whole number"),
    ],
)
def test_damaged_values_are_named(key: str, value: object, reason: str, tmp_path: Path) -> None:
    document = json.loads(run({"kernel": "longformer-hf", "len": 512}).to_json())
    document["rows"][0][key] = value
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError) as raised:
        read_table(str(path), ResultTable)
    assert reason in raised.value.expected


def named(tmp_path: Path, *changes: dict[str, Any]) -> list[str]:
    """The names of runs that differ by changes of their attributes."""
    paths: list[str] = []
    for index, change in enumerate(changes):
        table = run({"kernel": "bert-sdpa", "len": 64, **change.pop("options", {})})
        table.environment = ENVIRONMENT | change.pop("environment", {})
        for attribute, value in change.items():
            setattr(table, attribute, value)
        path = tmp_path / f"run{index}.json"
        path.write_text(table.to_json())
        paths.append(str(path))
    return [run.name for run in read_runs(paths)]


def test_runs_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    assert named(tmp_path, {}) == [""]
    assert named(
        tmp_path, {"environment": {"processor": "A", "threads": 1}}, {"environment": {"threads": 2}}
    ) == ["A", "Processor"]
    assert named(tmp_path, {"environment": {"threads": 1}}, {}) == ["1 thread", "2 threads"]
    assert named(tmp_path, {"options": {"dtype": "float16"}}, {}) == ["float16", "float32"]
    newer = {"environment": {"packages": {"attnprof": "0.1.0", "torch": "2.14.0"}}}
    assert named(tmp_path, {}, newer) == ["torch 2.13.0", "torch 2.14.0"]
    later = {"finished_at": "2026-05-18T08:30:00+02:00"}
    assert named(tmp_path, {}, later) == ["2026-05-17", "2026-05-18"]
    assert named(tmp_path, {}, {"finished_at": "2026-05-17T09:00:00+02:00"}) == [
        "2026-05-17 08:30",
        "2026-05-17 09:00",
    ]
    assert named(tmp_path, {}, {}) == ["run0", "run1"]
    assert named(tmp_path, {"environment": {"threads": 1}}, {}, later) == [
        "1 thread, 2026-05-17",
        "2 threads, 2026-05-17",
        "2 threads, 2026-05-18",
    ]


def test_side_by_side_a_cell_has_the_ratio_to_the_first_run(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a.json", "b.json", "c.json")]
    for path, slowness in zip(paths, (1.0, 1.1, 3.0), strict=True):
        Path(path).write_text(
            run({"kernel": "longformer-hf", "len": 1024}, slowness=slowness).to_json()
        )
    compared = side_by_side(read_runs(paths, ["one", "two", "three"]))
    times, peaks = compared.tables
    assert times.columns == ("tokens", "one", "two", "three")
    ((label, tokens, *cells),) = times.rows
    assert (label, tokens) == ("longformer-hf", "1,024")
    # 90 to 110 % of 1.0 and of 1.1 overlap; of 1.0 and of 3.0 they do not.
    assert [cell.rpartition(" ")[2] for cell in cells[1:]] == ["~1.10x", "3.00x"]
    assert [cell.rpartition(" ")[2] for cell in peaks.rows[0][3:]] == ["1.00x", "1.00x"]
    assert compared.legend == "x: cost divided by that of one; ~ the two intervals overlap"
    assert len(compared.settings) == 1
