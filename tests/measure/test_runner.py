"""Measured tables when kernels work, do not support a case, fail, or do not fit in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from workloads import groups_by_length

import attnprof
from attnprof import ResultTable, kernels
from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.result_table import Row
from attnprof.core.workload import Case
from attnprof.isolation.workers import InProcessWorkers
from attnprof.measure import feasibility, runner
from attnprof.measure.disturbance import RoundLog
from attnprof.measure.single_case import MeasureSettings
from attnprof.options import read_cases

SMALL: dict[str, Any] = {"hidden_size": 32, "num_heads": 4, "window": 16}
QUICK = MeasureSettings(max_seconds=0.05, allow_slow=True)


def run(measurements: MeasureSettings = QUICK, **options: Any) -> list[Row]:
    cases = read_cases({**SMALL, **options}, "cpu")  # type: ignore[typeddict-item]
    return ResultTable(
        runner.measure(groups_by_length(cases), measurements, InProcessWorkers())
    ).rows


@pytest.mark.usefixtures("undisturbed")
def test_a_measured_row_agrees_with_itself() -> None:
    # heads of 20: see tests/kernels/test_builtin.py
    rows = run(len="64", kernel=list(kernels.names()), hidden_size=80)
    assert [(row.workload.seq_len, row.kernel) for row in rows] == [
        (n, name) for n in (64,) for name in kernels.names()
    ]
    for row in rows:
        if kernels.find(row.kernel).unsupported_reason(row.workload):  # decoders
            assert row.status == "unsupported"
            continue
        assert row.status == "ok"
        assert row.values["operator_macs"] == row.values["executed_macs"]
        if not kernels.find(row.kernel).needs_compilation:  # torch's counter fails on FlexAttention
            assert row.values["torch_macs"] <= row.values["operator_macs"]
        assert row.values["peak_bytes"] == pytest.approx(
            row.values["predicted_peak_bytes"], rel=0.02
        )
        assert 0 < row.values["time_low_ns"] <= row.values["time_ns"] <= row.values["time_high_ns"]
        assert row.values["speedup"] > 0
    assert {row.values["speedup"] for row in rows if row.kernel == "bert-sdpa"} == {1}


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize(
    ("measurements", "missing"),
    [
        (MeasureSettings(count=False, max_seconds=0.05), {"operator_macs", "ptflops_aten_macs"}),
        (MeasureSettings(time=False), {"time_ns", "speedup"}),
        (MeasureSettings(memory=False, max_seconds=0.05), {"peak_bytes"}),
    ],
)
def test_disabled_measurements_are_missing(
    measurements: MeasureSettings, missing: set[str]
) -> None:
    (row,) = run(measurements, len=64, kernel="bert-sdpa")
    everything = {"operator_macs", "ptflops_aten_macs", "time_ns", "speedup", "peak_bytes"}
    assert row.status == "ok"
    assert everything - set(row.values) == missing


def test_without_the_reference_there_is_no_speedup() -> None:
    (row,) = run(len=64, kernel="bert-eager")
    assert "speedup" not in row.values
    assert "time_ns" in row.values


def test_an_unsupported_case_is_a_row_with_its_reason_and_no_substitute_runs() -> None:
    rows = run(len=64, kernel=["longformer-hf", "longformer-masked"], dilation=2)
    assert [(row.kernel, row.status) for row in rows] == [
        ("longformer-hf", "unsupported"),
        ("longformer-masked", "ok"),
    ]
    assert rows[0].detail == "transformers' module has no dilation"
    assert set(rows[0].values) == {"useful_macs", "min_bytes"}


def test_a_case_that_does_not_fit_is_skipped_with_needed_and_available_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feasibility, "available_bytes", lambda device: 2**23)
    rows = run(len="64,1024", kernel=["bert-eager", "bert-sdpa"])
    assert [row.status for row in rows] == ["ok", "ok", "skipped", "ok"]
    needed = rows[2].values["predicted_peak_bytes"]
    assert needed > 2**23
    assert rows[2].detail.startswith("needs ")
    assert "8.00 MiB (8388608 bytes) available" in rows[2].detail
    assert "executed_macs" in rows[2].values
    assert "operator_macs" not in rows[2].values


def test_a_skipped_case_has_a_time_predicted_from_shorter_lengths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feasibility, "available_bytes", lambda device: 2**23)
    timed = MeasureSettings(count=False, memory=False, max_seconds=0.05)
    rows = run(timed, len="64,128,256,1024", kernel="bert-eager")
    assert [row.status for row in rows] == ["ok", "ok", "ok", "skipped"]
    longest = rows[-1]
    predicted = longest.values["predicted_time_ns"]
    assert 0 < longest.values["predicted_time_low_ns"] < predicted
    assert predicted < longest.values["predicted_time_high_ns"]
    assert "time_ns" not in longest.values
    assert "predicted: " in longest.detail
    (never_run,) = run(timed, len="2048", kernel="bert-eager")
    assert (never_run.status, "predicted_time_ns" in never_run.values) == ("skipped", False)


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (RuntimeError("it broke\nbadly"), "error", "RuntimeError: it broke badly"),
        (torch.OutOfMemoryError("CUDA out of memory"), "oom", "ran out of memory"),
        (MemoryError(), "oom", "ran out of memory"),
        (
            RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
            "oom",
            "not enough memory",
        ),
    ],
)
def test_a_failing_kernel_becomes_a_row_and_the_others_continue(
    monkeypatch: pytest.MonkeyPatch, error: Exception, status: str, detail: str
) -> None:
    def fails(workload: object) -> None:
        raise error

    monkeypatch.setattr(kernels.find("bert-eager"), "build", fails)
    rows = run(len=64, kernel=["bert-eager", "bert-sdpa"])
    assert [row.status for row in rows] == [status, "ok"]
    assert detail in rows[0].detail
    assert "\n" not in rows[0].detail


def test_a_kernel_that_fails_only_when_it_is_timed_is_a_row_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(workload: object) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr(kernels.find("bert-eager"), "build", fails)
    only_time = MeasureSettings(count=False, memory=False, max_seconds=0.05)
    rows = run(only_time, len=64, kernel=["bert-eager", "bert-sdpa"])
    assert [row.status for row in rows] == ["error", "ok"]


def test_cases_of_one_length_must_fit_in_memory_together(monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = {"len": 256, "kernel": "longformer-masked", "window": [16, 32, 64]}
    (first, *_) = read_cases({**SMALL, **patterns}, "cpu")  # type: ignore[typeddict-item]
    kernel = kernels.find("longformer-masked")
    static, peak = kernel.static_bytes(first.workload), kernel.peak_bytes(first.workload)
    monkeypatch.setattr(feasibility, "available_bytes", lambda device: 2 * static + peak)
    rows = run(**patterns)
    assert [row.status for row in rows] == ["ok", "ok", "skipped"]


@pytest.mark.parametrize("error", [MeasurementError("no idea"), RuntimeError("no idea")])
def test_a_failing_counter_leaves_its_cell_empty_and_says_why(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from attnprof.counting.counters import ptflops_aten

    def fails(build: object) -> int:
        raise error

    monkeypatch.setattr(ptflops_aten, "count", fails)
    (row,) = run(len=64, kernel="bert-sdpa")
    assert row.status == "ok"
    assert "ptflops_aten_macs" not in row.values
    assert {"ptflops_pytorch_macs", "time_ns"} <= set(row.values)
    assert "ptflops_aten_macs is empty: " in row.detail
    assert "no idea" in row.detail


def test_reported_progress_increases_up_to_one() -> None:
    progress: list[float] = []
    cases = read_cases({**SMALL, "len": "64,96"}, "cpu")  # type: ignore[typeddict-item]
    list(
        runner.measure(
            groups_by_length(cases),
            QUICK,
            InProcessWorkers(),
            lambda activity, done: progress.append(done),
        )
    )
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == (0.0, 1.0)


def test_dense_kernels_run_once_whatever_the_patterns() -> None:
    cases = read_cases({"len": 512, "window": [64, 128], "dilation": [1, 2]}, "cpu")
    assert [case.kernel for case in cases].count("bert-sdpa") == 1
    assert [case.kernel for case in cases].count("longformer-hf") == 4


def test_options_are_read_as_text_or_as_numbers() -> None:
    as_numbers = read_cases({"len": [512, 1024], "window": 64, "global_tokens": 2}, "cpu")
    as_text = read_cases({"len": "512,1024", "window": "64", "global_tokens": "@0:1"}, "cpu")
    assert as_numbers == as_text
    assert read_cases({"len": [1024, 512, 512]}, "cpu") == read_cases({"len": "512 ,1024"}, "cpu")


def test_defaults_are_those_documented() -> None:
    cases = read_cases({}, "cpu")
    assert list(dict.fromkeys(case.workload.seq_len for case in cases)) == [512, 1024, 4096]
    assert list(dict.fromkeys(case.kernel for case in cases)) == [
        "bert-eager",
        "bert-sdpa",
        "longformer-hf",
        "longformer-banded",
    ]
    workload = cases[-1].workload
    assert (workload.hidden_size, workload.num_heads, workload.batch_size) == (768, 12, 1)
    assert workload.layers[0] == attnprof.AttentionPattern.sliding(512, 1, (0,), 12)
    assert (workload.dtype, workload.mode) == ("float32", "inference")


def test_a_stack_is_compared_with_a_stack_of_dense_layers() -> None:
    cases = read_cases({"len": 512, "window": "32:64:128"}, "cpu")
    assert {(case.kernel, len(case.workload.layers)) for case in cases} == {
        ("bert-eager", 3),
        ("bert-sdpa", 3),
        ("longformer-hf", 3),
        ("longformer-banded", 3),
    }


def test_model_of_the_paper_is_a_stack_with_dilated_heads_at_the_top() -> None:
    (case,) = read_cases({"model": "longformer-char-lm", "kernel": "longformer-masked"}, "cpu")[:1]
    layers = case.workload.layers
    assert len(layers) == 12
    assert [max(layer.dilation) for layer in layers] == [1] * 6 + [2, 2, 3, 3, 4, 4]
    assert all(layer.dilation.count(1) >= 6 for layer in layers)
    assert (layers[0].window, layers[-1].window) == (32, 512)


def test_explicit_options_override_the_model() -> None:
    (case,) = read_cases(
        {"model": "bert-large", "len": 64, "kernel": "bert-sdpa", "hidden_size": 64}, "cpu"
    )
    assert (case.workload.hidden_size, case.workload.num_heads) == (64, 16)


def test_a_models_dilations_apply_only_to_its_own_layers() -> None:
    for shape in ({"window": 64}, {"num_heads": 4, "hidden_size": 64}):
        options: Any = {"model": "longformer-char-lm", "kernel": "longformer-masked", **shape}
        case = read_cases(options, "cpu")[0]
        assert {stride for layer in case.workload.layers for stride in layer.dilation} == {1}


def test_compare_and_estimate_agree_and_write_files(tmp_path: Path) -> None:
    options: Any = {**SMALL, "len": 64, "kernel": "bert-sdpa"}
    estimated = attnprof.estimate(**options, csv=str(tmp_path / "a.csv"))
    compared = attnprof.compare(**options, no_time=True, device="cpu", csv=str(tmp_path / "b.csv"))
    assert (tmp_path / "a.csv").read_text() == estimated.to_csv()
    assert (tmp_path / "b.csv").read_text() == compared.to_csv()
    for quantity, value in estimated.rows[0].values.items():
        assert compared.rows[0].values[quantity] == value


def test_errors_of_the_api_name_the_argument() -> None:
    with pytest.raises(UsageError, match="window 511"):
        attnprof.estimate(window=511)
    with pytest.raises(UsageError, match="max_seconds"):
        attnprof.compare(max_seconds=0)
    with pytest.raises(UsageError, match="len"):
        attnprof.estimate(len=[])
    with pytest.raises(UsageError, match="hidden_size 770: must be a multiple of 12 \\(heads\\)"):
        attnprof.estimate(hidden_size=770)
    with pytest.raises(UsageError, match="did you mean len"):
        attnprof.estimate(lens=[64])  # type: ignore[call-arg]
    with pytest.raises(UsageError, match=r"num_heads 4\.0"):
        attnprof.estimate(num_heads=4.0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"len 512\.0"):
        attnprof.estimate(len=512.0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="an empty value"):
        attnprof.estimate(len="512,,1024")
    assert attnprof.estimate(hidden_size="64", num_heads="4", len="64").num_rows == 4  # type: ignore[arg-type]


def test_a_case_is_its_kernel_and_workload() -> None:
    first, second = (read_cases({"len": 64, "window": 16}, "cpu") for _ in range(2))
    assert {*first} == {*second}
    assert isinstance(first[0], Case)


@pytest.mark.parametrize("is_disturbed", [True, False])
def test_disturbed_rounds_give_times_without_speeds(
    monkeypatch: pytest.MonkeyPatch, is_disturbed: bool
) -> None:
    monkeypatch.setattr(RoundLog, "_limit", lambda log: -1.0 if is_disturbed else float("inf"))
    monkeypatch.setattr(RoundLog, "_is_bad", lambda log, before, after: is_disturbed)
    timed = MeasureSettings(count=False, memory=False, max_seconds=0.05)
    rows = run(timed, len=64, kernel=["bert-eager", "bert-sdpa"])
    for row in rows:
        assert row.status == "ok"
        assert row.values["time_ns"] > 0
        assert row.values["withheld"] == is_disturbed
        assert row.withheld.startswith("not measurable now: ") == is_disturbed
        assert row.detail.count("not measurable now") == is_disturbed
        assert ("speedup" in row.values) != is_disturbed
        assert any(name.startswith("time_ratio") for name in row.values) != is_disturbed
