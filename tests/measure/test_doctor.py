"""The doctor: what it measures, what it reports, and the file that it writes."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from machines import IDLE, MACHINE, NOISY, SAMPLE
from rich.console import Console
from timeouts import PATIENCE_SECONDS
from typer.testing import CliRunner

from attnprof import AttentionPattern, Workload, kernels
from attnprof.cli import app
from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.machine import read_machine
from attnprof.core.workload import Case
from attnprof.isolation.outcome import Outcome, run_captured
from attnprof.measure import doctor, doctor_probes, system_load, throughput
from attnprof.measure.disturbance import Timed
from attnprof.measure.doctor_probes import ProbeResult, ProbeSettings
from attnprof.measure.environment import Environment, blas_of
from attnprof.report.doctor import render_doctor


def test_noise_is_the_quartiles_of_times_and_of_ratios() -> None:
    # Ratios are exactly 1 if both times vary together.
    together = throughput.noise_of([(time, time) for time in (80, 90, 100, 110, 120)])
    assert (together.single_spread, together.paired_spread) == (0.2, 0.0)
    assert (together.single_ns, together.pairs) == (100, 5)
    apart = throughput.noise_of([(80, 100), (90, 100), (100, 100), (110, 100), (120, 100)])
    assert apart.paired_spread == pytest.approx(0.2)


def test_rates_are_work_by_time_of_a_timer_that_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "LARGEST_SIDE", {"cpu": 64})
    monkeypatch.setattr(throughput, "SMALLEST_SIDE", 64)
    monkeypatch.setattr(throughput, "COPIED_BYTES", {"cpu": 1000})

    def timer(run: Callable[[], object]) -> Timed:
        run()
        return Timed(500)

    assert throughput.matmul_macs_per_s("float64", "cpu", timer, 1.0) == 64**3 * 2_000_000
    assert throughput.copy_bytes_per_s("cpu", timer, 1.0, free_bytes=10**9) == 2000 * 2_000_000
    assert throughput.copy_bytes_per_s("cpu", timer, 1.0, free_bytes=800) == 200 * 2_000_000


def test_load_of_others_excludes_this_process() -> None:
    before = system_load.CpuTimes(at=10.0, busy=100.0, own=5.0, stolen=1.0, all_cores=1000.0)
    after = system_load.CpuTimes(at=12.0, busy=103.5, own=6.5, stolen=1.2, all_cores=1004.0)
    measured = system_load.conditions(before, after, threads=3)
    assert (measured.cores_used_by_others, measured.stolen_share, measured.threads) == (
        1.0,
        0.05,
        3,
    )
    assert system_load.cores_used_by_others(before, before) is None


@pytest.mark.parametrize(
    ("config", "blas"),
    [
        (
            "Math Kernel Library Version 2024.2-Product\nMKL-DNN v3.12.0 (Git)\nBLAS_INFO=mkl,",
            "MKL 2024.2, oneDNN v3.12.0",
        ),
        ("  - Build settings: BLAS_INFO=accelerate, BUILD_TYPE=Release", "Accelerate"),
        (
            "  - Intel(R) MKL-DNN v3.7.1\n - Build settings: BLAS_INFO=open,",
            "OpenBLAS, oneDNN v3.7.1",
        ),
        ("PyTorch built with: nothing", None),
    ],
)
def test_blas_is_read_from_how_torch_was_built(config: str, blas: str | None) -> None:
    assert blas_of(config) == blas


def small_cases(device: str) -> tuple[Case, ...]:
    """Six cases that can be timed, and one that its kernel does not support."""
    dense, band = AttentionPattern.dense(4), AttentionPattern.sliding(16, num_heads=4)
    patterns = {"bert-sdpa": dense, "longformer-banded": band, "longformer-hf": band}
    dilated = Workload(AttentionPattern.sliding(16, 2, num_heads=4), 96, 32)
    return (
        *(
            Case(name, Workload(pattern, seq_len, 32))
            for name, pattern in patterns.items()
            for seq_len in (32, 64)
        ),
        Case("longformer-hf", dilated),
    )


ENVIRONMENT = Environment(
    processor="a processor",
    cores=2,
    threads=2,
    memory_bytes=2**34,
    gpu=None,
    system="a system",
    python="3.11",
    packages={},
)


class FakeWorkers:
    """Runs parts in this process; named parts return a prepared outcome instead."""

    def __init__(self, outcomes: dict[object, Outcome]) -> None:
        self.outcomes = outcomes

    def run(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        prepared = [self.outcomes[key] for key in (function, *args) if key in self.outcomes]
        return prepared[0] if prepared else run_captured(function, *args)

    def __enter__(self) -> FakeWorkers:
        return self

    def __exit__(self, *error: object) -> None:
        pass


PROBED = Outcome(("cpu", ENVIRONMENT, 2**33, 2))

QUICK: dict[object, Outcome] = {
    doctor_probes.probe_environment: PROBED,
    doctor_probes.matmul_rate: Outcome(ProbeResult(value=10**9)),
    doctor_probes.copy_rate: Outcome(ProbeResult(value=10**9)),
    doctor_probes.noise: Outcome((NOISY, IDLE)),
}


def test_kernel_times_and_moved_bytes_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_cases", small_cases)
    machine = doctor.profile_with(FakeWorkers(QUICK), ProbeSettings(), lambda *_: None)
    assert not machine.failures
    by_case = {
        (timed.kernel, timed.sample.seq_len): timed.sample for timed in machine.kernel_samples
    }
    assert len(by_case) == len(small_cases("cpu")) - 1
    for case in small_cases("cpu")[:-1]:
        kernel, sample = kernels.find(case.kernel), by_case[case.kernel, case.workload.seq_len]
        static, peak = kernel.static_bytes(case.workload), kernel.peak_bytes(case.workload)
        assert sample.moved_bytes == static + 2 * peak
        assert sample.executed_macs == kernel.executed_macs(case.workload)
        assert 0 < sample.time_low_ns <= sample.time_ns <= sample.time_high_ns
    assert list(machine.left_out) == ["longformer-hf at 96 tokens"]
    assert "dilation" in machine.left_out["longformer-hf at 96 tokens"]


def test_kernels_without_time_left_are_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_cases", small_cases)
    slow = QUICK | {doctor_probes.matmul_rate: Outcome(ProbeResult(value=1))}
    machine = doctor.profile_with(
        FakeWorkers(slow), ProbeSettings(max_seconds=0.5), lambda *_: None
    )
    assert not machine.kernel_samples
    reason = machine.left_out["bert-sdpa at 32 tokens"]
    assert reason == "not enough time left of 0.5 s; raise --max-seconds"


def test_times_disturbed_by_others_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_cases", lambda device: small_cases(device)[:1])
    for used, marked in ((0.1, {}), (0.9, {"bert-sdpa at 32 tokens": 0.9})):
        outcomes = QUICK | {
            doctor_probes.time_kernel: Outcome(ProbeResult(value=SAMPLE, cores_used_by_others=used))
        }
        machine = doctor.profile_with(FakeWorkers(outcomes), ProbeSettings(), lambda *_: None)
        assert machine.disturbed == marked


def test_a_failed_part_is_reported_and_the_others_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outcomes = QUICK | {
        "float16": Outcome(failure="killed by SIGKILL"),
        doctor_probes.copy_rate: Outcome(failure="RuntimeError: no copies today"),
        doctor_probes.time_kernel: Outcome(ProbeResult(value=SAMPLE)),
    }
    del outcomes[doctor_probes.matmul_rate]
    monkeypatch.setattr(doctor_probes, "matmul_rate", rate_of_one)
    monkeypatch.setattr(doctor, "open_workers", lambda modules, hint: FakeWorkers(outcomes))
    path = tmp_path / "machine.json"
    result = CliRunner().invoke(app, ["doctor", "--json", str(path)])
    assert result.exit_code == MeasurementError.exit_code
    assert "float16: killed by SIGKILL" in result.stdout
    assert "copy: RuntimeError: no copies today" in result.stdout
    machine = read_machine(str(path))
    assert set(machine.rates.matmul_macs_per_s) == {"float32", "float64", "bfloat16"}
    assert machine.rates.copy_bytes_per_s is None
    assert machine.noise == NOISY
    assert len(machine.kernel_samples) == 3 * len(kernels.names())


def rate_of_one(settings: ProbeSettings, dtype: str, seconds: float) -> ProbeResult:
    return ProbeResult(value=10**12)


def test_noise_is_skipped_without_the_rate_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "_cases", lambda device: ())
    outcomes = QUICK | {doctor_probes.matmul_rate: Outcome(failure="took more than 1 s")}
    machine = doctor.profile_with(FakeWorkers(outcomes), ProbeSettings(), lambda *_: None)
    assert machine.noise is None
    assert machine.left_out["noise"] == "needs float32 matrix products, which failed"
    path = tmp_path / "machine.json"
    path.write_text(machine.to_json())
    assert read_machine(str(path)) == machine


def test_a_page_reports_everything_once_and_fits_eighty_columns() -> None:
    machine = replace(
        MACHINE,
        left_out={f"kernel-{k} at {n} tokens": "no time" for n in (64, 32) for k in "ab"},
        disturbed={"kernel-a at 64 tokens": 0.4, "float32": 1.3},
    )
    sections = {section.heading: section for section in render_doctor(machine, 80)}
    assert list(sections) == [
        "Machine",
        "Throughput on cpu",
        "Kernels: float32, inference, hidden 768, 12 heads, window 512, 1 global token",
        "Noise: quiet (score 2.0 %)",
        "Background load",
        "Failed",
        "Skipped",
    ]
    assert sections["Failed"].sentences == ("float16: killed by SIGKILL",)
    assert sections["Skipped"].sentences == (
        "kernel-a, kernel-b at 64 tokens; kernel-a, kernel-b at 32 tokens: no time",
    )
    (disturbed,) = sections["Background load"].sentences
    assert "up to 1.3 cores" in disturbed
    assert disturbed.endswith("kernel-a at 64 tokens; float32")
    out = io.StringIO()
    for section in sections.values():
        if section.table:
            Console(file=out, width=80).print(section.table)
    text = out.getvalue()
    for shown in ("89.00 GMac/s", "22.0 GiB/s", "Räder 3000", "94.0 ms", "36.41 GMac/s", "41 %"):
        assert shown in text
    assert "…" not in text


def test_a_disturbance_without_a_busy_process_is_reported_as_waiting_threads() -> None:
    machine = replace(MACHINE, disturbed={"bert-sdpa at 1,024 tokens": 0.0})
    sections = {section.heading: section for section in render_doctor(machine, 80)}
    (sentence,) = sections["Background load"].sentences
    assert sentence.startswith("threads waited for a core, though no other process was busy")
    assert "cores" not in sentence


BAD_OPTIONS = [
    ("--device abacus", "--device abacus: unknown; choose from auto, cpu, cuda"),
    ("--threads 0", "--threads 0: must be a positive whole number"),
    ("--max-seconds 0", "--max-seconds 0: must be a positive number of seconds"),
    (
        "--json /no/such/folder/m.json",
        "--json /no/such/folder/m.json: folder /no/such/folder does not exist",
    ),
]


@pytest.mark.parametrize(("words", "message"), BAD_OPTIONS)
def test_bad_options_are_refused_before_anything_is_measured(
    words: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(doctor, "open_workers")
    result = CliRunner().invoke(app, ["doctor", *words.split()])
    assert result.exit_code == UsageError.exit_code
    assert result.stderr.startswith(f"attnprof: {message}")
    assert result.stderr.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "open_workers", lambda modules, hint: FakeWorkers({}))
    result = CliRunner().invoke(app, ["doctor", "--device", "cuda"])
    assert result.exit_code == UsageError.exit_code
    assert "torch finds no CUDA device; use cpu or auto" in result.stderr


def test_a_machine_is_profiled_without_torch_in_the_calling_process(tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    words = ["doctor", "--device", "cpu", "--threads", "1", "--max-seconds", "0.02", "--json"]
    code = (
        "import sys; from typer.testing import CliRunner; from attnprof.cli import app\n"
        f"result = CliRunner().invoke(app, {[*words, str(path)]!r})\n"
        "print(result.stdout, result.stderr)\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(result.exit_code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    machine = read_machine(str(path))
    assert set(machine.rates.matmul_macs_per_s) == {"float32", "float64", "bfloat16", "float16"}
    assert machine.noise
    assert machine.noise.pairs >= throughput.MIN_PAIRS
    assert machine.environment["threads"] == 1
    assert machine.conditions
    assert machine.conditions.threads == 1
    for heading in ("Machine", "Throughput on cpu", "Noise: ", "Skipped"):
        assert heading in done.stdout
    assert f"written: {path}" in done.stdout
