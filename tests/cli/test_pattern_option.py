"""`--pattern`: its conflicts, its columns and files, and reports without the user's code."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import attnprof
from attnprof.cli import app
from attnprof.core.mask_pattern import format_mask

MASK = """
def local(b, h, q, k):
    return (q >= k) & (q - k < 40)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "masks_of_mine.py").write_text(MASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def run(*words: str) -> str:
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--window", "64"), "--window 64: must be left out: --pattern says"),
        (("--dilation", "2"), "--dilation 2: must be left out"),
        (("--global-tokens", "1"), "--global-tokens 1: must be left out"),
        (("--causal",), "--pattern bigbird: attends to later keys; leave out --causal"),
        (("--len", "1M"), "--len 1048576: must be at most 262,144 tokens: bigbird is evaluated"),
    ],
)
def test_what_does_not_go_with_a_mask_is_one_line_with_exit_code_2(
    words: tuple[str, ...], message: str
) -> None:
    result = CliRunner().invoke(app, ["estimate", "--pattern", "bigbird", *words])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_csv_names_the_mask_after_the_new_tokens_and_leaves_windows_empty() -> None:
    words = ("--pattern", "chunked:chunk=64", "masks_of_mine:local", "--len", "128")
    rows = list(csv.DictReader(io.StringIO(run("estimate", *words, "--csv", "-"))))
    columns = list(rows[0])
    assert columns[columns.index("new_tokens") + 1] == "pattern"
    sparse = [row for row in rows if row["kernel"] == "longformer-flex"]
    assert [row["pattern"] for row in sparse] == ["chunked:chunk=64", "masks_of_mine:local"]
    assert {row["window"] for row in sparse} == {row["dilation"] for row in sparse} == {""}
    assert {row["causal"] for row in sparse} == {"1"}
    # A chunk of 64: 64 * 65 / 2 pairs, twice; useful MACs are 2 d of each.
    pairs, projections = 12 * 2 * 64 * 65 // 2, 3 * 128 * 768**2
    assert int(sparse[0]["useful_macs"]) == projections + 2 * 64 * pairs


def test_a_report_prints_the_same_where_the_users_module_is_not(tmp_path: Path) -> None:
    words = ("--pattern", "masks_of_mine:local", "documents:mean=50", "--len", "64", "256")
    shown = run("estimate", *words, "--details", "--json", "results.json")
    other = tmp_path / "elsewhere"
    other.mkdir()
    code = "import sys; from attnprof.cli import app; sys.argv[0] = 'attnprof'; app()"
    done = subprocess.run(
        [sys.executable, "-c", code, "report", str(tmp_path / "results.json"), "--details"],
        cwd=other,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(attnprof.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == shown


def test_results_that_are_read_again_have_the_mask_and_its_pairs(tmp_path: Path) -> None:
    table = attnprof.estimate(pattern="masks_of_mine:local", len=100, kernel="longformer-flex")
    table.save("results.json")
    (row,) = attnprof.ResultTable.load("results.json").rows
    assert format_mask(row.workload.pattern) == "masks_of_mine:local"
    assert row.workload.pairs == table.rows[0].workload.pairs
    assert row.workload.pairs == 12 * (100 * 40 - 40 * 39 // 2)
    assert json.loads(Path("results.json").read_text())["masks"]["masks_of_mine:local"]


def test_setting_and_picture_name_the_mask() -> None:
    assert "; pattern chunked:chunk=64" in run("estimate", "--pattern", "chunked:chunk=64")
    picture = run("pattern", "--pattern", "chunked:chunk=16", "--len", "64")
    assert "chunked:chunk=16" in picture
    assert f"{4 * 16 * 17 // 2}" in picture
    causal = run("pattern", "--causal", "--window", "8", "6", "--global-tokens", "2", "--len", "32")
    assert "causal window 8, 2 sinks" in causal
    assert "of causal dense" in causal
    mixed = run("pattern", "--window", "3+1:full", "--len", "32", "--global-tokens", "0")
    assert "window 3+1, layer 1" in mixed
    assert "full attention, layer 2" in mixed
