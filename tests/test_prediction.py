"""Predicted times against times that follow the model; what fits against a search through all."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_imports import loaded_by
from typer.testing import CliRunner

import attnprof
from attnprof import Workload, kernels
from attnprof.analysis import findings
from attnprof.analysis.findings.max_length import max_length
from attnprof.analysis.predictions import predict_case, predicted_records, samples_of
from attnprof.analysis.time_model import (
    LOWEST_EFFICIENCY,
    MAX_DOUBLINGS,
    PredictedTime,
    predict_time,
)
from attnprof.cli import app
from attnprof.core import machine as machines
from attnprof.core.errors import UsageError
from attnprof.core.machine import KernelSample, Machine, Noise, Rates, Sample
from attnprof.core.records import CASE, PREDICTED, Record
from attnprof.core.result_table import COLUMNS, ResultTable
from attnprof.core.units import format_long_duration
from attnprof.core.workload import Case
from attnprof.measure.runner import estimate
from attnprof.options import read_cases
from attnprof.report.chart import render_png
from attnprof.report.columns import COMPARE_COLUMNS
from attnprof.report.markdown import render_markdown
from attnprof.report.summary import describe_findings, describe_notes

LENGTHS = (256, 512, 1024, 2048)


def work(kind: str, n: int) -> tuple[int, int]:
    """MACs and bytes: of dense attention, of a window, and of scores that are written out."""
    return {
        "dense": (3 * n * 768**2 + 2 * n * n * 768, 20 * n * 768 + 7_000_000),
        "window": (5 * n * 768**2 + 1024 * n * 768, 16 * n * 768),
        "scores": (3 * n * 768**2 + 2 * n * n * 768, 200 * n * n + 32 * n * 768),
    }[kind]


def sample(n: int, macs: int, moved: int, time_ns: float, spread: float = 0.0) -> Sample:
    return Sample(
        seq_len=n,
        executed_macs=macs,
        moved_bytes=moved,
        time_ns=round(time_ns),
        time_low_ns=round(time_ns * (1 - spread)),
        time_high_ns=round(time_ns * (1 + spread)),
    )


def predicted(samples: list[Sample], kind: str, n: int) -> PredictedTime:
    macs, moved = work(kind, n)
    time = predict_time(samples, seq_len=n, executed_macs=macs, moved_bytes=moved)
    assert time is not None
    return time


@pytest.mark.parametrize("kind", ["dense", "window", "scores"])
@pytest.mark.parametrize(
    ("per_mac", "per_byte", "constant"),
    [(0.012, 0.0, 0), (0.0, 0.11, 0), (0.012, 0.11, 0), (0.012, 0.0, 5e6), (0.012, 0.11, 5e6)],
)
def test_times_that_follow_the_model_are_told_at_every_length(
    kind: str, per_mac: float, per_byte: float, constant: float
) -> None:
    def true(n: int) -> float:
        macs, moved = work(kind, n)
        return per_mac * macs + per_byte * moved + constant

    samples = [sample(n, *work(kind, n), true(n)) for n in LENGTHS]
    for n in (100, 700, 4096, 8192, 100_000):
        assert predicted(samples, kind, n).time_ns == pytest.approx(true(n), rel=1e-4)


def test_one_sample_tells_by_its_efficiency() -> None:
    samples = [sample(1024, *work("dense", 1024), 5e7)]
    ratio = work("dense", 4096)[0] / work("dense", 1024)[0]
    assert predicted(samples, "dense", 4096).time_ns == pytest.approx(5e7 * ratio, rel=1e-6)


def test_a_noisy_short_length_hardly_moves_what_is_told_of_long_ones() -> None:
    samples = [sample(n, *work("dense", n), 0.012 * work("dense", n)[0]) for n in LENGTHS]
    noisy = [dataclasses.replace(samples[0], time_ns=3 * samples[0].time_ns), *samples[1:]]
    truth = predicted(samples, "dense", 8192).time_ns
    assert predicted(noisy, "dense", 8192).time_ns == pytest.approx(truth, rel=0.05)


def test_nothing_is_said_without_samples_or_too_far_from_them() -> None:
    one = sample(1024, 10**9, 10**6, 5e7)
    far = 1024 * 2**MAX_DOUBLINGS
    for samples, n in (([], 2048), ([one], far + 1024), ([one], 0)):
        assert predict_time(samples, seq_len=n, executed_macs=10**12, moved_bytes=1) is None
    assert predict_time([one], seq_len=far, executed_macs=10**12, moved_bytes=1) is not None


sample_lists = st.lists(
    st.tuples(
        st.integers(1, 10**12),
        st.integers(1, 10**11),
        st.integers(10**3, 10**12),
        st.floats(0, 0.5),
    ),
    min_size=1,
    max_size=5,
).map(
    lambda rows: [
        sample(256 << index, macs, moved, time_ns, spread)
        for index, (macs, moved, time_ns, spread) in enumerate(rows)
    ]
)


@settings(max_examples=50)
@given(sample_lists, st.integers(1, 10**13), st.integers(1, 10**12), st.integers(64, 10**5))
def test_the_interval_holds_the_time_and_more_work_takes_no_less(
    samples: list[Sample], macs: int, moved: int, n: int
) -> None:
    time = predict_time(samples, seq_len=n, executed_macs=macs, moved_bytes=moved)
    more = predict_time(samples, seq_len=n, executed_macs=2 * macs, moved_bytes=moved)
    assume(time is not None and more is not None)
    assert time is not None
    assert more is not None
    assert 0 <= time.low_ns <= time.time_ns <= time.high_ns
    assert time.time_ns <= more.time_ns


@settings(max_examples=50)
@given(sample_lists, st.integers(2, 1000))
def test_a_machine_that_is_slower_in_all_is_slower_in_what_is_told(
    samples: list[Sample], factor: int
) -> None:
    def scaled(one: Sample) -> Sample:
        return dataclasses.replace(
            one,
            time_ns=one.time_ns * factor,
            time_low_ns=one.time_low_ns * factor,
            time_high_ns=one.time_high_ns * factor,
        )

    args = {"seq_len": 8192, "executed_macs": 10**12, "moved_bytes": 10**10}
    fast = predict_time(samples, **args)
    slow = predict_time([scaled(one) for one in samples], **args)
    assert fast is not None
    assert slow is not None
    for before, after in zip(dataclasses.astuple(fast), dataclasses.astuple(slow), strict=True):
        assert after == pytest.approx(factor * before, rel=1e-5, abs=2 * factor)


def test_the_interval_grows_with_each_doubling_and_with_the_samples_own() -> None:
    def width(n: int, spread: float) -> float:
        samples = [
            sample(m, *work("dense", m), 0.01 * work("dense", m)[0], spread) for m in LENGTHS
        ]
        time = predicted(samples, "dense", n)
        return time.high_ns / time.low_ns

    assert width(2048, 0.0) < width(4096, 0.0) < width(8192, 0.0)
    assert width(4096, 0.0) < width(4096, 0.1) < width(4096, 0.3)


# Records, rows and words.


def compared(kernel: str = "bert-eager", skipped: int = 8192) -> ResultTable:
    """A comparison whose longest length was skipped; the others took 10 ps a MAC."""
    table = ResultTable()
    cases = read_cases({"kernel": kernel, "len": [512, 1024, 2048, skipped]}, "cpu")
    for record in estimate(cases):
        if record.quantity == CASE:
            case = Case(record.kernel, record.workload)
            if record.workload.seq_len < skipped:
                macs = kernels.find(kernel).executed_macs(record.workload)
                for quantity, part in (("time_ns", 1), ("time_low_ns", 0.9), ("time_high_ns", 1.1)):
                    value = round(0.01 * macs * part)
                    table.add(Record(record.kernel, record.workload, quantity, value))
            else:
                for one in predicted_records(case, samples_of(table.records, case)):
                    table.add(one)
                record = dataclasses.replace(record, status="skipped", detail="needs too much")
        table.add(record)
    return table


def test_a_skipped_row_tells_its_predicted_time_marked_as_such() -> None:
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
    assert all(set(row) == set(COLUMNS) | {"padded_seq_len"} for row in measured)
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


def test_a_picture_has_predicted_points() -> None:
    assert render_png(compared()) != render_png(
        ResultTable(one for one in compared().records if one.quantity not in PREDICTED)
    )


# What fits.


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ("bert-eager", {}),
        ("bert-sdpa", {}),
        ("longformer-hf", {"window": 64}),
        ("longformer-banded", {"window": 32}),
        ("longformer-banded", {"window": 32, "mode": "training"}),
        ("longformer-masked", {"window": 32, "global_tokens": "@40"}),
    ],
)
@pytest.mark.parametrize("available", [2_000_000, 4_000_000])
def test_the_longest_that_fits_is_that_of_a_search_through_all(
    kernel: str, options: dict[str, object], available: int
) -> None:
    small = {"hidden_size": 64, "num_heads": 4, "len": 128, "kernel": kernel, **options}
    table = attnprof.estimate(**small)  # type: ignore[arg-type]
    table.available_bytes = available
    (finding,) = findings.find(table).max_lengths
    workload, module = table.rows[0].workload, kernels.find(kernel)

    def needed(workload: Workload) -> int:
        return module.static_bytes(workload) + module.peak_bytes(workload)

    shortest = 41 if "global_tokens" in options else 1
    limit = 2 * finding.longest + 200
    fitting = [n for n in range(shortest, limit) if needed(workload.at(n)) <= available]
    assert finding.longest == max(fitting)
    assert finding.time is None


def test_the_longest_that_fits_where_nothing_or_everything_does_or_it_is_not_known() -> None:
    assert max_length(lambda n: 10 + n, 10) == 0
    assert max_length(lambda n: 10 + n, 11) == 1
    assert max_length(lambda n: 10, 11) is None
    assert max_length(lambda n: None if n > 100 else n, 1000) is None
    for available in range(1, 200):
        assert max_length(lambda n: 3 * n * n, 3 * available**2) == available


def test_what_fits_is_told_only_where_the_memory_is_known_and_with_its_time() -> None:
    table = compared()
    heading = "What fits in memory here"
    assert heading not in dict(describe_findings(findings.find(table)))
    table.available_bytes = 2**30
    (line,) = dict(describe_findings(findings.find(table)))[heading]
    (finding,) = findings.find(table).max_lengths
    assert finding.time is not None
    assert line == (
        f"bert-eager: up to {finding.longest:,} tokens in 1.00 GiB, "
        f"≈ {format_long_duration(finding.time.time_ns)} predicted "
        f"({format_long_duration(finding.time.low_ns)} to "
        f"{format_long_duration(finding.time.high_ns)})."
    )
    truth = 0.01 * kernels.find("bert-eager").executed_macs(
        table.rows[0].workload.at(finding.longest)
    )
    assert finding.time.time_ns == pytest.approx(truth, rel=1e-4)
    assert f"**{heading}**" in render_markdown(table, COMPARE_COLUMNS)
    table.available_bytes = 1000
    assert dict(describe_findings(findings.find(table)))[heading] == [
        "bert-eager: nothing fits in 1000 B."
    ]


def test_the_longest_that_fits_of_the_users_own_is_where_its_counts_end() -> None:
    table = attnprof.estimate(
        kernel="mixers:Chunked", len=[64, 128], hidden_size=64, num_heads=4, no_isolation=True
    )
    (row, _) = table.rows
    table.available_bytes = 5_000_000
    (finding,) = findings.find(table).max_lengths
    module = kernels.find(row.kernel)

    def needed(n: int) -> int:
        workload = row.workload.at(n)
        return module.static_bytes(workload) + module.peak_bytes(workload)

    assert needed(finding.longest) <= table.available_bytes < needed(finding.longest + 1)


# A stored machine.


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


def test_a_machines_samples_tell_and_its_rates_do_where_there_are_none() -> None:
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
        assert "machine's rates" in note


def test_times_that_others_disturbed_tell_nothing_where_there_are_calm_ones() -> None:
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
    told, alone = (predict_case(case, (), one) for one in (whole, machine(calm)))
    assert told == alone


def test_a_machines_samples_in_another_dtype_lend_their_efficiency() -> None:
    sampled = machine(*(kernel_sample("bert-sdpa", n, 0.02) for n in (512, 1024, 4096)))
    full, _ = on(sampled)
    half, note = on(sampled, dtype="bfloat16")
    efficiency = roofline_ns(1e11) / full.time_ns
    assert half.time_ns == pytest.approx(roofline_ns(2e11, dtype="bfloat16") / efficiency, rel=0.03)
    assert half.high_ns / half.low_ns > full.high_ns / full.low_ns
    assert "runs in float32" in note


def test_a_dtype_that_the_machine_has_no_rate_of_is_not_told() -> None:
    (case,) = read_cases({"kernel": "bert-sdpa", "len": 4096, "dtype": "float16"}, "cpu")
    sampled = machine(kernel_sample("bert-sdpa", 512, 0.02))
    assert predict_case(case, (), sampled) is None
    assert predicted_records(case, (), sampled) == []


def test_an_estimate_on_a_machine_tells_time_and_what_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = machine(*(kernel_sample("bert-sdpa", n, 0.02) for n in (512, 1024)))
    monkeypatch.setattr(machines, "read_machine", lambda path: stored)
    words = ["estimate", "--kernel", "bert-sdpa", "--len", "4096"]
    plain = CliRunner().invoke(app, words)
    told = CliRunner().invoke(app, [*words, "--machine", "machine.json"])
    assert plain.exit_code == told.exit_code == 0
    assert "≈" not in plain.output
    assert "fits" not in plain.output
    (case,) = read_cases({"kernel": "bert-sdpa", "len": 4096}, "cpu")
    macs = kernels.find("bert-sdpa").executed_macs(case.workload)
    assert f"≈ {format_long_duration(round(0.02 * macs))}" in told.output
    assert "What fits in memory here\n  bert-sdpa: up to " in told.output
    assert "tokens in 1.00 GiB, ≈ " in told.output
    row = attnprof.estimate(kernel="bert-sdpa", len=4096, machine="machine.json").rows[0]
    assert row.values["predicted_time_ns"] == pytest.approx(0.02 * macs, rel=1e-4)


def test_a_machine_of_another_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = dataclasses.replace(machine(), device="cuda")
    monkeypatch.setattr(machines, "read_machine", lambda path: stored)
    with pytest.raises(UsageError, match="has the times of cuda"):
        attnprof.estimate(len=512, device="cpu", machine="m.json")
    table = attnprof.estimate(len=512, kernel="bert-sdpa", machine="m.json")
    assert table.rows[0].workload.device == "cuda"


def test_an_estimate_on_a_machine_loads_nothing_heavy(tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    stored = machine(kernel_sample("bert-sdpa", 512, 0.02))
    path.write_text(json.dumps({"document": dataclasses.asdict(stored)}))
    code = (
        "import json; from pathlib import Path\n"
        "import attnprof; from attnprof import machine as m, findings\n"
        "from attnprof.analysis.time_model import Sample\n"
        f"d = json.loads(Path({str(path)!r}).read_text())['document']\n"
        "d['rates'], d['noise'] = m.Rates(**d['rates']), m.Noise(**d['noise'])\n"
        "d['kernel_samples'] = tuple(m.KernelSample(**(one | {'sample': Sample(**one['sample'])}))"
        " for one in d['kernel_samples'])\n"
        "m.read_machine = lambda path: m.Machine(**d)\n"
        "table = attnprof.estimate(len=[512, 4096], machine='m.json')\n"
        "assert all('predicted_time_ns' in row.values for row in table.rows)\n"
        "assert len(findings.find(table).fits) == 4"
    )
    assert loaded_by(code) == set()


def test_long_times_are_told_in_the_units_that_people_use() -> None:
    told = {599: "599 s", 600: "10.0 min", 7199: "120 min", 7200: "2.00 h", 172_800: "2.00 days"}
    assert {s: format_long_duration(s * 10**9) for s in told} == told
