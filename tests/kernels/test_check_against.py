"""`--check-against`: a custom kernel against a reference of the user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import attnprof
from attnprof import ResultTable, kernels
from attnprof.cli import app
from attnprof.core.errors import UsageError

OPTIONS: dict[str, Any] = {
    "len": 24, "hidden_size": 32, "num_heads": 2, "device": "cpu", "no_count": True,
    "max_seconds": 0.05, "no_isolation": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def importable_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def compare(kernel: str, reference: str, **options: Any) -> ResultTable:
    return attnprof.compare(
        kernel=f"checked:{kernel}", check_against=f"checked:{reference}", **{**OPTIONS, **options}
    )


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize(
    ("kernel", "reference"),
    [
        ("dense", "fused"),
        ("Net", "SlowNet"),
        ("Net", "by_its_weights"),
        ("Net", "make_slow"),
        ("make_slow", "Net"),
    ],
)
def test_a_kernel_that_agrees_is_measured(
    kernel: str, reference: str, dtype: str, mode: str
) -> None:
    (row,) = compare(kernel, reference, dtype=dtype, mode=mode, no_time=True).rows
    assert row.status == "ok"
    assert "output is" not in row.detail
    assert "peak_bytes" in row.values


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize(
    ("kernel", "reference", "words"),
    [
        ("unscaled", "dense", "is expected: off by "),
        ("unwritten", "dense", "output is nan at index (0, 23, 0)"),
        ("cut", "dense", "output has shape (1, 23, 32), the reference (1, 24, 32)"),
        ("Net", "by_half_its_weights", "is expected: off by "),
    ],
)
def test_a_kernel_that_differs_is_wrong(
    kernel: str, reference: str, words: str, dtype: str
) -> None:
    table = compare(kernel, reference, dtype=dtype)
    (row,) = table.rows
    assert row.status == "wrong"
    assert words in row.detail
    assert table.has_failures
    assert not row.values.keys() & {"time_ns", "peak_bytes"}


@pytest.mark.parametrize(
    ("kernel", "reference", "words"),
    [
        ("dense", "broken", "reference checked:broken: RuntimeError: it broke"),
        ("Net", "OtherNet", "its weights are not those of the checked module: inner.bias"),
        ("Net", "fused", "reference checked:fused: "),
    ],
)
def test_a_reference_that_cannot_be_called_is_an_error(
    kernel: str, reference: str, words: str
) -> None:
    (row,) = compare(kernel, reference).rows
    assert row.status == "error"
    assert words in row.detail
    assert row.detail.endswith("while its output was checked")


def test_built_in_kernels_are_still_checked_against_their_pattern() -> None:
    table = attnprof.compare(
        kernel=["bert-sdpa", "checked:unscaled"], check_against="checked:dense", **OPTIONS
    )
    assert [row.status for row in table.rows] == ["ok", "wrong"]


def test_the_check_works_in_worker_processes() -> None:
    (row,) = compare("unwritten", "fused", no_isolation=False).rows
    assert (row.status, "output is nan at index" in row.detail) == ("wrong", True)


def test_on_resume_a_wrong_row_is_reused_only_for_the_same_reference(tmp_path: Path) -> None:
    options = {"json": str(tmp_path / "a.json"), "no_time": True}
    assert compare("unscaled", "dense", **options).rows[0].status == "wrong"
    options["resume"] = True
    assert compare("unscaled", "dense", **options).rows[0].status == "wrong"
    assert compare("unscaled", "unscaled", **options).rows[0].status == "ok"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("checked:fussed", "checked has no fussed; did you mean fused?"),
        ("no_such:thing", "cannot be imported"),
        ("checked:number", "is int; name a function"),
        ("fused", "such as pkg.mod:name"),
        ("config.json", "such as pkg.mod:name"),
        ("fatal_import:thing", "while importing it"),
    ],
)
def test_bad_references_are_usage_errors(reference: str, words: str) -> None:
    is_fatal = reference.startswith("fatal")  # to the process that imports it
    with pytest.raises(UsageError, match="check_against") as raised:
        attnprof.compare(
            kernel="checked:dense",
            check_against=reference,
            **{**OPTIONS, "no_isolation": not is_fatal},
        )
    assert words in str(raised.value)


def test_it_requires_a_custom_kernel() -> None:
    words = ["--len", "24", "--check-against", "checked:dense", "--kernel", *kernels.names()[:2]]
    done = CliRunner().invoke(app, ["compare", *words])
    assert done.exit_code == 2
    assert "--check-against" in done.output
    assert "applies to custom kernels only" in " ".join(done.output.split())
