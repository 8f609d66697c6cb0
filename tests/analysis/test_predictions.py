"""Predicted times of cases: from their series, from a machine profile, in tables and notes."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from loaded_modules import loaded_by
from samples import compared, sample
from typer.testing import CliRunner

import attnprof
from attnprof import kernels
from attnprof.analysis.predictions import predict_case, predicted_records, samples_of
from attnprof.analysis.time_model import (
    LOWEST_EFFICIENCY,
    PredictedTime,
)
from attnprof.cli import app
from attnprof.core import machine as machines
from attnprof.core.errors import UsageError
from attnprof.core.machine import KernelSample, Machine, Noise, Rates
from attnprof.core.records import PREDICTED
from attnprof.core.result_table import COLUMNS, ResultTable
from attnprof.core.units import format_long_duration
from attnprof.core.workload import Case
from attnprof.options import read_cases
from attnprof.report.charts import render_chart
from attnprof.report.columns import COMPARE_COLUMNS
from attnprof.report.run import Run
from attnprof.report.summary import describe_notes


def test_a_skipped_row_shows_its_predicted_time_marked_as_such() -> None:
    table = compared()
    row = table.rows[-1]
    truth = 0.01 * kernels.find("bert-eager").executed_macs(row.workload)
    assert row.integer("predicted_time_ns") == pytest.approx(truth, rel=1e-4)
    time = next(column for column in COMPARE_COLUMNS if column.heading == "time")
    shown = format_long_duration(round(truth))
    assert time.show(row) == f"≈ {shown}"
    peak = "6.07 GiB"
    assert f"needs too much; predicted: {shown} (" in row.detail
    assert row.detail.endswith(f"), peak {peak}")
    (note,) = describe_notes(table)
    assert note.startswith("bert-eager at 8,192: skipped: needs too much; predicted: ")


def test_only_rows_that_were_predicted_have_the_keys_in_json_and_no_column_is_new() -> None:
    table = compared()
    *measured, skipped = json.loads(table.to_json())["rows"]
    added = {"layers", "scope", "setting", "quantities", "notes"}
    assert all(set(row) == set(COLUMNS) | added for row in measured)
    assert set(skipped) - set(measured[0]) == set(PREDICTED)
    assert skipped["time_ns"] is None
    assert table.to_csv().splitlines()[0] == ",".join(COLUMNS)
    lines = [json.loads(line) for line in table.to_json_lines().splitlines()]
    assert {line["unit"] for line in lines if line["quantity"] in PREDICTED} == {"ns"}


def test_samples_are_those_of_the_same_series_alone() -> None:
    table = compared()
    row = table.rows[0]
    of = {
        "itself": Case("bert-eager", row.workload.at(10**6)),
        "kernel": Case("bert-sdpa", row.workload),
        "batch": Case("bert-eager", dataclasses.replace(row.workload, batch_size=2)),
    }
    found = {name: samples_of(table.records, case) for name, case in of.items()}
    assert [one.seq_len for one in found["itself"]] == [512, 1024, 2048]
    assert found["itself"][0].moved_bytes == kernels.moved_bytes(
        kernels.find("bert-eager"), row.workload
    )
    assert not found["kernel"]
    assert not found["batch"]


def test_the_chart_has_predicted_points() -> None:
    without = ResultTable(one for one in compared().records if one.quantity not in PREDICTED)
    assert render_chart([Run("", compared())], "svg") != render_chart([Run("", without)], "svg")


def machine(*samples: KernelSample, memory_bytes: int = 2**30) -> Machine:
    return Machine(
        device="cpu",
        environment={},
        memory_bytes=memory_bytes,
        rates=Rates(
            matmul_macs_per_s={"float32": 10**11, "bfloat16": 2 * 10**11},
            copy_bytes_per_s=10**10,
        ),
        noise=Noise(single_spread=0.1, paired_spread=0.05),
        kernel_samples=samples,
    )


def kernel_sample(kernel: str, seq_len: int, per_mac: float) -> KernelSample:
    (case,) = read_cases({"kernel": kernel, "len": seq_len}, "cpu")
    module = kernels.find(kernel)
    macs = module.executed_macs(case.workload)
    moved = kernels.moved_bytes(module, case.workload)
    return KernelSample(
        kernel=kernel,
        dtype="float32",
        mode="inference",
        scope="attention",
        sample=sample(seq_len, macs, moved, per_mac * macs),
    )


def on(machine: Machine, **options: object) -> tuple[PredictedTime, str]:
    (case,) = read_cases({"kernel": "bert-sdpa", "len": 4096, **options}, "cpu")  # type: ignore[typeddict-item]
    forecast = predict_case(case, (), machine)
    assert forecast is not None
    return forecast.time, forecast.note


def roofline_ns(macs_per_s: float, **options: object) -> float:
    (case,) = read_cases({"kernel": "bert-sdpa", "len": 4096, **options}, "cpu")  # type: ignore[typeddict-item]
    kernel = kernels.find("bert-sdpa")
    macs, peak = kernel.executed_macs(case.workload), kernel.peak_bytes(case.workload)
    moved = kernel.static_bytes(case.workload) + 2 * peak
    return 1e9 * (macs / macs_per_s + moved / 1e10)


def test_predictions_use_a_machines_samples_or_else_its_rates() -> None:
    sampled = machine(*(kernel_sample("bert-sdpa", n, 0.02) for n in (512, 1024)))
    time, note = on(sampled)
    (case,) = read_cases({"kernel": "bert-sdpa", "len": 4096}, "cpu")
    macs = kernels.find("bert-sdpa").executed_macs(case.workload)
    assert time.time_ns == pytest.approx(0.02 * macs, rel=1e-4)
    assert note == ""
    for bare, options in ((machine(), {}), (sampled, {"mode": "training"})):
        time, note = on(bare, **options)
        least = roofline_ns(1e11, **options)
        assert time.low_ns == pytest.approx(least, rel=1e-6)
        assert time.high_ns == pytest.approx(least / LOWEST_EFFICIENCY, rel=1e-6)
        assert time.time_ns == pytest.approx(least / math.sqrt(LOWEST_EFFICIENCY), rel=1e-6)
        assert "machine's throughput" in note


def test_disturbed_times_are_not_used_where_there_are_calm_ones() -> None:
    calm, disturbed = (
        kernel_sample("bert-sdpa", 1024, 0.02),
        kernel_sample("bert-sdpa", 512, 9.0),
    )
    whole = dataclasses.replace(
        machine(calm, disturbed), disturbed={"bert-sdpa at 512 tokens": 1.0}
    )
    assert whole.samples_of("bert-sdpa") == [calm]
    assert dataclasses.replace(whole, kernel_samples=(disturbed,)).samples_of("bert-sdpa") == [
        disturbed
    ]
    (case,) = read_cases({"len": 2048, "kernel": "bert-sdpa"}, "cpu")
    with_noise, alone = (predict_case(case, (), one) for one in (whole, machine(calm)))
    assert with_noise == alone


def test_a_machines_samples_in_another_dtype_lend_their_efficiency() -> None:
    sampled = machine(*(kernel_sample("bert-sdpa", n, 0.02) for n in (512, 1024, 4096)))
    full, _ = on(sampled)
    half, note = on(sampled, dtype="bfloat16")
    efficiency = roofline_ns(1e11) / full.time_ns
    assert half.time_ns == pytest.approx(roofline_ns(2e11, dtype="bfloat16") / efficiency, rel=0.03)
    assert half.high_ns / half.low_ns > full.high_ns / full.low_ns
    assert "runs in float32" in note


def test_nothing_is_predicted_for_a_dtype_without_a_rate() -> None:
    (case,) = read_cases({"kernel": "bert-sdpa", "len": 4096, "dtype": "float16"}, "cpu")
    sampled = machine(kernel_sample("bert-sdpa", 512, 0.02))
    assert predict_case(case, (), sampled) is None
    assert predicted_records(case, (), sampled) == []


def test_an_estimate_on_a_machine_predicts_time_and_maximum_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = machine(*(kernel_sample("bert-sdpa", n, 0.02) for n in (512, 1024)))
    monkeypatch.setattr(machines, "read_machine", lambda path: stored)
    words = ["estimate", "--kernel", "bert-sdpa", "--len", "4096"]
    plain = CliRunner().invoke(app, [*words, "--details"])
    predicted = CliRunner().invoke(app, [*words, "--details", "--machine", "machine.json"])
    assert plain.exit_code == predicted.exit_code == 0
    assert "≈" not in plain.output
    assert "Maximum length" not in plain.output
    (case,) = read_cases({"kernel": "bert-sdpa", "len": 4096}, "cpu")
    macs = kernels.find("bert-sdpa").executed_macs(case.workload)
    assert f"≈ {format_long_duration(round(0.02 * macs))}" in predicted.output
    assert "Maximum length in available memory\n  bert-sdpa: up to " in predicted.output
    assert "tokens in 1.00 GiB; predicted time ≈ " in predicted.output
    row = attnprof.estimate(kernel="bert-sdpa", len=4096, machine="machine.json").rows[0]
    assert row.values["predicted_time_ns"] == pytest.approx(0.02 * macs, rel=1e-4)


def test_a_machine_of_another_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = dataclasses.replace(machine(), device="cuda")
    monkeypatch.setattr(machines, "read_machine", lambda path: stored)
    with pytest.raises(UsageError, match="was measured on cuda; use --device cuda"):
        attnprof.estimate(len=512, device="cpu", machine="m.json")
    table = attnprof.estimate(len=512, kernel="bert-sdpa", machine="m.json")
    assert table.rows[0].workload.device == "cuda"


def test_an_estimate_on_a_machine_loads_nothing_heavy(tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    stored = machine(kernel_sample("bert-sdpa", 512, 0.02))
    path.write_text(json.dumps({"document": dataclasses.asdict(stored)}))
    code = (
        "import json; from pathlib import Path\n"
        "import attnprof; from attnprof.analysis import findings\n"
        "from attnprof.core import machine as m\n"
        f"d = json.loads(Path({str(path)!r}).read_text())['document']\n"
        "d['rates'], d['noise'] = m.Rates(**d['rates']), m.Noise(**d['noise'])\n"
        "d['kernel_samples'] = tuple(m.KernelSample(**(k | {'sample': m.Sample(**k['sample'])}))"
        " for k in d['kernel_samples'])\n"
        "m.read_machine = lambda path: m.Machine(**d)\n"
        "table = attnprof.estimate(len=[512, 4096], machine='m.json')\n"
        "assert all('predicted_time_ns' in row.values for row in table.rows)\n"
        "assert len(findings.find(table).max_lengths) == 4"
    )
    assert loaded_by(code) == set()


def test_long_times_are_shown_in_minutes_hours_and_days() -> None:
    texts = {599: "599 s", 600: "10.0 min", 7199: "120 min", 7200: "2.00 h", 172_800: "2.00 days"}
    assert {s: format_long_duration(s * 10**9) for s in texts} == texts
