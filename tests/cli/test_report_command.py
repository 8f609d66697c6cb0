"""`attnprof report`: saved results look as they did when they were measured."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from estimate_in_process import estimate
from saved_tables import ENDINGS, run
from typer.testing import CliRunner, Result

from attnprof import ResultTable, kernels
from attnprof.cli import app
from attnprof.cli.results import show_table
from attnprof.report.formats import table_renderers
from attnprof.report.outputs import Format

TABLES: dict[str, Callable[[], ResultTable]] = {
    "every status": lambda: run(endings=ENDINGS),
    "variants": lambda: run({"len": [64, 128], "window": [16, 32], "dilation": [1, 2]}),
    "an estimate": lambda: estimate(len=[512, "64k"]),
    "a custom kernel": lambda: estimate(
        kernel=["mixers:Chunked", "bert-sdpa"], len=[64, 128], hidden_size=64, num_heads=4
    ),
}


def report(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, words)])


def saved(table: ResultTable, path: Path) -> Path:
    path.write_text(table.to_json())
    return path


@cache
def table_of(name: str) -> ResultTable:
    return TABLES[name]()


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest) -> ResultTable:
    return table_of(request.param)


@pytest.mark.parametrize("has_details", [False, True])
def test_the_terminal_is_that_of_the_run(
    table: ResultTable, has_details: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", shown)
        show_table(table, has_details=has_details, has_formulas=has_details)
    path = saved(table, tmp_path / "costs.json")

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} was looked up")

    monkeypatch.setattr(kernels.custom, "find", refuse)
    done = report(path, *["--details", "--explain"] * has_details)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == shown.getvalue()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, form) for name in TABLES for form in ("csv", "markdown")),
        ("every status", "svg"),
        ("every status", "html"),
        ("a custom kernel", "html"),
    ],
)
def test_files_are_those_of_the_run(name: str, form: Format, tmp_path: Path) -> None:
    table = table_of(name)
    expected = table_renderers({"svg": "x.svg"})[form](table)
    path, output = saved(table, tmp_path / "costs.json"), tmp_path / f"costs.{form}"
    done = report(path, f"--{form}", output)
    assert (done.exit_code, done.stderr) == (0, f"written: {output}\n")
    assert output.read_bytes() == (expected.encode() if isinstance(expected, str) else expected)


def test_stdout_has_a_format_alone(tmp_path: Path) -> None:
    table = run()
    done = report(saved(table, tmp_path / "costs.json"), "--csv", "-")
    assert (done.stdout, done.stderr) == (table.to_csv(), "")


def two_runs(tmp_path: Path) -> list[Path]:
    slow = run(slowness=2.0)
    slow.finished_at = "2026-06-01T12:00:00+00:00"
    return [saved(run(), tmp_path / "a.json"), saved(slow, tmp_path / "b.json")]


def test_several_runs_are_side_by_side_in_80_columns(tmp_path: Path) -> None:
    done = report(*two_runs(tmp_path))
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    (heading,) = (line for line in lines if line.startswith("time"))
    assert heading.split()[1:] == ["tokens", "2026-05-17", "2026-06-01"]
    assert any(line.startswith("bert-sdpa") and line.endswith("~1.00x") for line in lines)
    assert any("2.00x" in line and not line.startswith("bert-sdpa") for line in lines)


def test_long_names_of_runs_become_letters(tmp_path: Path) -> None:
    names = ["the machine that stands under the desk", "a machine somewhere in the cloud"]
    done = report(*two_runs(tmp_path), "--name", *names)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for letter, name in zip("AB", names, strict=True):
        assert any(line.startswith(f"{letter}  {name}: ") for line in lines)
    assert lines[-1] == "x: cost divided by that of A; ~ the two intervals overlap"


def test_details_of_several_runs_show_each_of_them(tmp_path: Path) -> None:
    paths = two_runs(tmp_path)
    alone = [report(path, "--details").stdout for path in paths]
    together = report(*paths, "--details").stdout
    assert all(text in together for text in alone)


def test_csv_of_several_runs_ends_with_their_names(tmp_path: Path) -> None:
    paths = two_runs(tmp_path)
    rows = list(csv.reader(io.StringIO(report(*paths, "--name", "a", "b", "--csv", "-").stdout)))
    alone = list(csv.reader(io.StringIO(report(paths[0], "--csv", "-").stdout)))
    assert rows[0] == [*alone[0], "run"]
    assert rows[1 : len(alone)] == [[*row, "a"] for row in alone[1:]]
    assert {row[-1] for row in rows[len(alone) :]} == {"b"}


def test_markdown_of_several_runs_has_each_below_its_name(tmp_path: Path) -> None:
    paths = two_runs(tmp_path)
    text = report(*paths, "--name", "a", "b", "--markdown", "-").stdout
    assert text.index("| time | tokens | a | b |") < text.index("\n## a\n") < text.index("\n## b\n")
    assert report(paths[1], "--markdown", "-").stdout in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "RESULTS: name one or more files, such as costs.json"),
        (["missing.json"], "missing.json: no such file; write one with attnprof compare"),
        (["{a}", "--name", "a", "b"], "--name a b: must be as many as there are files: 1 file"),
        (["{a}", "{b}", "--name", "a", "a"], "--name a: must differ from the other names"),
        (["{a}", "--csv", "/nowhere/x.csv"], "--csv /nowhere/x.csv: folder /nowhere does not"),
        (["{a}", "{b}", "--json", "x.json"], "--json x.json: needs the results of one run or"),
        (["{a}", "--len", "512"], "--len: unknown option"),
    ],
)
def test_errors_are_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    a, b = two_runs(tmp_path)
    done = report(*(word.format(a=a, b=b) for word in words))
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"attnprof: {message}")


def test_the_results_to_show_are_not_replaced(tmp_path: Path) -> None:
    paths = two_runs(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(paths[1])
    content = [path.read_bytes() for path in paths]
    for option, output in (("--csv", paths[0]), ("--html", paths[1]), ("--markdown", link)):
        done = report(*paths, option, output)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr == (
            f"attnprof: {option} {output}: has the results to show; name another file\n"
        )
    assert [path.read_bytes() for path in paths] == content


def test_costs_are_computed_for_series_and_not_for_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnprof.kernels.builtin import longformer_hf

    counted: list[int] = []
    cost: Any = longformer_hf.executed_macs

    def noted(workload: Any) -> int:
        counted.append(workload.seq_len)
        return cost(workload)

    monkeypatch.setattr(longformer_hf, "executed_macs", noted)
    asked: dict[int, int] = {}
    for rows in (10, 100):
        lengths = [512 * (index + 1) for index in range(rows - 1)] + [512 * 100]
        path = saved(
            run({"kernel": ["bert-sdpa", "longformer-hf"], "len": lengths}), tmp_path / "x.json"
        )
        counted.clear()
        assert report(path).exit_code == 0
        asked[rows] = len(counted)
    assert asked[100] <= 2 * asked[10]
