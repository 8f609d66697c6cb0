"""Built-in kernels whose output is right, and what `compare` does with those that are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner
from workloads import HEADS, WORKLOADS, describe, groups_by_length, sliding

from attnprof import AttentionPattern, AttentionStack, ResultTable, Workload, kernels
from attnprof.analysis import findings
from attnprof.cli import app
from attnprof.core.errors import MeasurementError
from attnprof.core.result_table import Row
from attnprof.core.workload import Case
from attnprof.isolation.workers import InProcessWorkers
from attnprof.measure import runner, worker_tasks
from attnprof.measure.output_checks import describe_wrong_output
from attnprof.measure.single_case import MeasureSettings
from attnprof.options import read_cases
from attnprof.report.charts import render_chart
from attnprof.report.columns import COMPARE_COLUMNS
from attnprof.report.markdown import render_markdown
from attnprof.report.run import Run

DTYPES = ("float32", "float64", "bfloat16", "float16")
EAGER = [name for name in kernels.names() if not kernels.find(name).needs_compilation]
QUICK = MeasureSettings(count=False, max_seconds=0.05)


def wrong(name: str, workload: Workload) -> str:
    return worker_tasks.check_output(Case(name, workload))


def right_workloads() -> list[Any]:
    """A selection of the workloads, in all dtypes."""
    cases: list[Any] = []
    for index, workload in enumerate(WORKLOADS[::3]):
        for number, name in enumerate(EAGER):
            typed = replace(workload, dtype=DTYPES[(index + number) % 4])
            if _has_no_gradient(name, typed):
                typed = workload
            if kernels.find(name).unsupported_reason(typed) is None:
                cases.append(pytest.param(name, typed, id=f"{name}_{describe(typed)}"))
    return cases


def _has_no_gradient(name: str, workload: Workload) -> bool:
    """transformers' float64 gradient is not finite if a window holds only padding: see below."""
    return (name, workload.dtype, workload.mode) == ("longformer-hf", "float64", "training")


@pytest.mark.parametrize(("name", "workload"), right_workloads())
def test_built_in_kernels_are_right(name: str, workload: Workload) -> None:
    assert wrong(name, workload) == ""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", EAGER)
def test_built_in_kernels_are_right_at_longer_lengths(name: str, mode: Any, dtype: Any) -> None:
    for pattern in (
        AttentionPattern.dense(HEADS),
        sliding(64, positions=(0, 300)),
        sliding(64, dilation=(1, 1, 2, 3), positions=(5,)),
    ):
        workload = Workload(pattern, 700, 128, dtype=dtype, mode=mode)
        if kernels.find(name).unsupported_reason(workload) is None:
            assert wrong(name, workload) == ""


def test_a_gradient_that_is_not_finite_is_found() -> None:
    """transformers computes the softmax of float64 in float32, where a window of padding alone is
    all -inf; this test fails once transformers fixes it."""
    workload = Workload(sliding(8), 33, 64, dtype="float64", mode="training")
    wide = replace(workload, pattern=AttentionStack(layers=(sliding(8), sliding(32))))
    assert "is not finite" in wrong("longformer-hf", wide)


# Planted faults: the kernel's module with one change.

Fault = Callable[[Any, Tensor], Tensor]


def with_fault(monkeypatch: pytest.MonkeyPatch, name: str, spoil: Fault, layer: int = 0) -> None:
    """Replace the output of a kernel's attention in one layer by a function of it."""
    kernel = kernels.find(name)
    build = kernel.build

    def spoiled(workload: Workload) -> Any:
        call = build(workload)
        attentions = [m for m in call.module.modules() if hasattr(m, "query")]
        forward = attentions[layer].forward

        def changed(*args: Any, **kwargs: Any) -> Any:
            output = forward(*args, **kwargs)
            first = spoil(attentions[layer], output[0] if isinstance(output, tuple) else output)
            return (first,) if isinstance(output, tuple) else first

        attentions[layer].forward = changed
        return call

    monkeypatch.setattr(kernel, "build", spoiled)


def nan_at(position: int) -> Fault:
    def spoil(module: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[-1, position, 20] = torch.nan
        return output

    return spoil


def unwritten(module: Any, output: Tensor) -> Tensor:
    """Leave the last tokens uninitialized."""
    memory = torch.empty_like(output)
    memory[:, :-3] = output[:, :-3]
    return memory


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("scope", ["attention", "layer"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_attention_of_a_call_is_checked(
    monkeypatch: pytest.MonkeyPatch, scope: Any, mode: Any, dtype: Any
) -> None:
    pattern = AttentionStack(layers=(sliding(8), sliding(16)))
    workload = Workload(pattern, 40, 64, batch_size=2, scope=scope, mode=mode, dtype=dtype)
    with_fault(monkeypatch, "longformer-banded", nan_at(7), layer=1)
    message = wrong("longformer-banded", workload)
    assert message.startswith(
        "layer 1: sequence 1 of the batch: output is nan at position 7, head 1"
    )
    assert "1 of 160 vectors are wrong" in message


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seq_len", [40, 1300])
def test_memory_that_was_never_written_is_found(
    monkeypatch: pytest.MonkeyPatch, dtype: Any, seq_len: int
) -> None:
    with_fault(monkeypatch, "longformer-banded", unwritten)
    message = wrong("longformer-banded", Workload(sliding(8), seq_len, 64, dtype=dtype))
    assert f"output is nan at position {seq_len - 3}" in message


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seq_len", [80, 700])
@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (sliding(6), sliding(8)),
        (sliding(10), sliding(8)),
        (sliding(64), sliding(66)),
        (sliding(8, positions=(9,)), sliding(8, positions=(8,))),
        (sliding(8), sliding(8, dilation=(1, 1, 1, 2))),
        (sliding(8, dilation=(1, 1, 3, 2)), sliding(8, dilation=(1, 1, 2, 3))),
    ],
    ids=["narrow", "wide", "narrow by one of 64", "global", "dilation", "heads"],
)
def test_another_pattern_is_found(
    built: AttentionPattern, expected: AttentionPattern, seq_len: int, dtype: Any
) -> None:
    call = kernels.find("longformer-banded").build(Workload(built, seq_len, 64, dtype=dtype))
    message = describe_wrong_output(call, Workload(expected, seq_len, 64, dtype=dtype))
    assert message.startswith("output is "), message


def test_a_gradient_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = Workload(sliding(8), 40, 64, mode="training")
    with_fault(
        monkeypatch,
        "longformer-banded",
        lambda module, output: output.detach() + 1.01 * (output - output.detach()),
    )
    assert "gradient of hidden_states is" in wrong("longformer-banded", workload)


def test_a_call_with_another_number_of_layers_is_an_error() -> None:
    call = kernels.find("longformer-banded").build(Workload(sliding(8), 40, 64))
    with pytest.raises(MeasurementError, match="found 1 attention module for 2 layers"):
        describe_wrong_output(call, Workload(AttentionStack(layers=(sliding(8),) * 2), 40, 64))


# Rows of the results.

SMALL: dict[str, Any] = {"hidden_size": 64, "num_heads": 4, "window": 16}


def measured(measurements: MeasureSettings = QUICK, **options: Any) -> ResultTable:
    cases = read_cases({**SMALL, **options}, "cpu")  # type: ignore[typeddict-item]
    return ResultTable(runner.measure(groups_by_length(cases), measurements, InProcessWorkers()))


def rows_of(table: ResultTable) -> dict[str, Row]:
    return {row.kernel: row for row in table.rows}


def test_a_wrong_row_has_no_time_and_no_findings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_fault(monkeypatch, "longformer-banded", nan_at(7))
    table = measured(len=40, kernel=["bert-sdpa", "longformer-banded", "longformer-masked"])
    rows = rows_of(table)
    assert [row.status for row in table.rows] == ["ok", "wrong", "ok"]
    assert rows["longformer-banded"].detail.startswith("output is nan at position 7, head 1 where")
    assert not rows["longformer-banded"].values.keys() & {"time_ns", "peak_bytes", "speedup"}
    assert table.has_failures
    found = findings.find(table)
    all_found = (
        *found.growth, *found.verdicts, *found.crossovers, *found.counters, *found.max_lengths,
    )  # fmt: skip
    assert {finding.label for finding in all_found} >= {"longformer-masked"}
    assert "longformer-banded" not in {finding.label for finding in all_found}
    assert all(getattr(f, "reference", "") != "longformer-banded" for f in all_found)
    assert "wrong: output is nan" in render_markdown(table, COMPARE_COLUMNS)
    assert render_chart([Run("", table)], "png").startswith(b"\x89PNG")
    (line,) = [line for line in table.to_csv().splitlines() if line.startswith("longformer-banded")]
    assert ",inference,wrong,output is nan" in line.replace('"', "")
    (row,) = [r for r in json.loads(table.to_json())["rows"] if r["kernel"] == "longformer-banded"]
    assert (row["status"], row["time_ns"]) == ("wrong", None)


def test_with_a_wrong_reference_there_are_no_speedups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_fault(monkeypatch, "bert-sdpa", nan_at(7))
    rows = rows_of(measured(len=40, kernel=["bert-sdpa", "longformer-banded"]))
    assert [row.status for row in rows.values()] == ["wrong", "ok"]
    assert "speedup" not in rows["longformer-banded"].values


def test_a_table_of_wrong_rows_alone_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    with_fault(monkeypatch, "bert-sdpa", nan_at(7))
    table = measured(len=40, kernel="bert-sdpa")
    assert render_chart([Run("", table)], "png").startswith(b"\x89PNG")
    assert findings.find(table) == findings.Findings((), (), (), ())


def test_outputs_are_not_checked_if_only_macs_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with_fault(monkeypatch, "bert-sdpa", nan_at(7))
    only_counts = MeasureSettings(time=False, memory=False)
    (row,) = measured(only_counts, len=40, kernel="bert-sdpa").rows
    assert row.status == "ok"


@pytest.mark.parametrize("words", [["--no-time"], ["--no-memory"]])
def test_compare_exits_with_3_and_keeps_wrong_rows_on_resume(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    command = [
        "compare", "--len", "40", "--hidden-size", "64", "--num-heads", "4", "--window", "8",
        "--kernel", "bert-sdpa", "longformer-banded", "--no-isolation", "--no-count",
        "--max-seconds", "0.05", "--json", str(tmp_path / "a.json"), *words,
    ]  # fmt: skip
    with monkeypatch.context() as patch:
        with_fault(patch, "longformer-banded", nan_at(7))
        first = CliRunner().invoke(app, command)
    assert first.exit_code == 3, first.output
    assert "wrong: output is nan at position 7, head 1" in " ".join(first.stdout.split())
    again = CliRunner().invoke(app, [*command, "--resume"])
    assert again.exit_code == 3
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [row["status"] for row in rows] == ["ok", "wrong"]
