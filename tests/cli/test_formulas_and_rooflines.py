"""`attnprof audit --formulas` and `--chart roofline`: output, files, errors before any work."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from loaded_modules import loaded_by
from machines import MACHINE
from typer.testing import CliRunner

from attnprof.cli import app
from attnprof.core.machine import FORMAT, SCHEMA

AUDIT = ("audit", "--formulas", "--len", "64", "--hidden-size", "48", "--num-heads", "4")


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def machine(tmp_path: Path) -> str:
    path = tmp_path / "machine.json"
    path.write_text(json.dumps({"format": FORMAT, "schema": SCHEMA, **asdict(MACHINE)}))
    return str(path)


def test_formulas_are_audited_without_torch() -> None:
    code = (
        "from typer.testing import CliRunner; from attnprof.cli import app\n"
        f"result = CliRunner().invoke(app, {list(AUDIT)!r}); assert result.exit_code == 0, result"
    )
    assert loaded_by(code) == set()


def test_one_workload_is_one_table_with_what_its_kernels_execute() -> None:
    code, out, err = run(*AUDIT, "--kernel", "longformer-banded", "longformer-masked")
    assert (code, err) == (0, "")
    assert out.count("needed by the pattern") == 1
    assert "executed by longformer-banded" in out
    assert "executed by longformer-masked" in out


def test_a_kernel_that_was_asked_for_and_does_not_run_is_named() -> None:
    code, out, err = run(*AUDIT, "--kernel", "longformer-hf", "--dilation", "2")
    assert code == 0
    assert "executed by" not in out
    assert "longformer-hf at 64: transformers' module has no dilation" in err


def test_files_have_the_vocabulary_in_differences(tmp_path: Path) -> None:
    path = tmp_path / "formulas.json"
    code, _, err = run(*AUDIT, "--vocab-size", "100", "--json", str(path))
    assert (code, err.strip()) == (0, f"written: {path}")
    rows = json.loads(path.read_text())["rows"]
    logits = {
        row["name"]: row["differences"].get("output logits, outside the layers") for row in rows
    }
    assert logits["palm"] == logits["megatron-lm"] == 64 * 48 * 100
    assert logits["transformers"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--mode", "decode"), "--mode decode: must be inference or training with --formulas"),
        (("--kernel", "a.b:Net"), "--kernel a.b:Net: must be a built-in kernel with --formulas"),
        (("--vocab-size", "0"), "--vocab-size 0: must be a positive whole number"),
    ],
)
def test_errors_of_an_audit_of_formulas_are_one_line(words: tuple[str, ...], message: str) -> None:
    code, out, err = run(*AUDIT, *words)
    assert (code, out) == (2, "")
    assert err.strip() == f"attnprof: {message}"


def test_a_vocabulary_belongs_to_formulas() -> None:
    code, _, err = run("audit", "--vocab-size", "5")
    assert (code, err.strip()) == (2, "attnprof: --vocab-size 5: needs --formulas")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("estimate",), "needs the rates of a machine; add --machine FILE"),
        (("compare", "--no-time"), "needs times; leave --no-time out"),
        (
            ("compare", "--max-seconds", "0.5"),
            "needs --max-seconds 1 or more, or --machine FILE",
        ),
    ],
)
def test_a_roofline_needs_rates_and_times(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "roofline.png"
    code, _, err = run(*words, "--chart", "roofline", "--png", str(path))
    assert (code, err.strip()) == (2, f"attnprof: --chart roofline: {message}")
    assert not path.exists()


def test_an_estimate_for_a_machine_has_a_roofline_with_predicted_points(
    tmp_path: Path, machine: str
) -> None:
    path, saved = tmp_path / "roofline.svg", tmp_path / "costs.json"
    words = ("estimate", "--kernel", "bert-sdpa", "--len", "512", "2k", "--machine", machine)
    outputs = ("--svg", str(path), "--chart", "roofline", "--json", str(saved))
    code, _, err = run(*words, *outputs)
    assert code == 0, err
    text = path.read_text()
    assert "matrix products 178.0 GFLOP/s" in text
    assert "predicted, not measured" in text
    (first, _) = json.loads(saved.read_text())["rows"]
    assert (first["bound"], first["utilisation"]) == ("compute", None)
    again = tmp_path / "again.svg"
    assert run("report", str(saved), "--svg", str(again), "--chart", "roofline")[0] == 0
    assert again.read_text() == text
