"""The doctor: what it measures, what it says of it, and the file that it leaves."""

from __future__ import annotations

import io
import json
import random
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from patience import PATIENCE_SECONDS
from rich.console import Console
from typer.testing import CliRunner

from attnprof import AttentionPattern, Workload, kernels
from attnprof.analysis.noise import QUIET, diagnose, rounds_needed
from attnprof.cli import app
from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.machine import (
    Conditions,
    KernelSample,
    Machine,
    Noise,
    Rates,
    Sample,
    read_machine,
)
from attnprof.core.workload import Case
from attnprof.isolation.outcome import Outcome, run_captured
from attnprof.measure import doctor, doctor_probes, system_load, throughput
from attnprof.measure.disturbance import Timed
from attnprof.measure.doctor_probes import ProbeResult, ProbeSettings
from attnprof.measure.environment import Environment, blas_of
from attnprof.report.doctor import render_doctor

SAMPLE = Sample(
    seq_len=1024,
    executed_macs=3_422_552_064,
    moved_bytes=230_433_792,
    time_ns=94_000_000,
    time_low_ns=90_000_000,
    time_high_ns=111_000_000,
)
MACHINE = Machine(
    device="cpu",
    environment={"processor": "Räder 3000", "cores": 2, "packages": {"torch": "2.13.0"}},
    memory_bytes=2**34,
    rates=Rates(
        matmul_macs_per_s={"float32": 89 * 10**9, "bfloat16": 2 * 10**11},
        copy_bytes_per_s=22 * 2**30,
    ),
    noise=Noise(single_spread=0.03, paired_spread=0.02, outlier_spread=0.1, single_ns=1, pairs=9),
    kernel_samples=(
        KernelSample(
            kernel="bert-sdpa",
            dtype="float32",
            mode="inference",
            scope="attention",
            sample=SAMPLE,
        ),
    ),
    conditions=Conditions(logical_cores=2, usable_cores=2, threads=2, stolen_share=0.01),
    failures={"float16": "killed by SIGKILL"},
    left_out={"longformer-flex at 4,096 tokens": "no time left"},
    disturbed={"bert-sdpa at 1,024 tokens": 1.3},
)
BARE = replace(
    MACHINE,
    rates=Rates(matmul_macs_per_s={}, copy_bytes_per_s=None),
    noise=None,
    kernel_samples=(),
    conditions=None,
)


@pytest.mark.parametrize("machine", [MACHINE, BARE])
def test_a_machine_comes_back_from_its_file(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    path.write_text(machine.to_json(), encoding="utf-8")
    assert read_machine(str(path)) == machine


Change = Callable[[dict[str, Any]], object]
BAD_MACHINES: list[tuple[str, Change, str]] = [
    ("schema", lambda d: d.update(schema=2), "has schema 2, this attnprof reads 1"),
    ("format", lambda d: d.pop("format"), "has no machine in it"),
    ("missing", lambda d: d.pop("memory_bytes"), "memory_bytes is missing"),
    ("inner", lambda d: d["rates"].pop("copy_bytes_per_s"), "rates.copy_bytes_per_s is missing"),
    (
        "text",
        lambda d: d.update(memory_bytes="16"),
        "memory_bytes is not a whole number, 0 or more",
    ),
    ("truth", lambda d: d.update(memory_bytes=True), "memory_bytes is not a whole number"),
    ("negative", lambda d: d.update(memory_bytes=-1), "memory_bytes is not a whole number"),
    ("infinite", lambda d: d["noise"].update(single_spread=float("inf")), "noise.single_spread"),
    ("device", lambda d: d.update(device="abacus"), "device is not one of cpu, cuda"),
    ("list", lambda d: d.update(kernel_samples={}), "kernel_samples is not a list"),
    ("object", lambda d: d.update(rates=[]), "rates is not an object"),
    (
        "dtype",
        lambda d: d["rates"].update(matmul_macs_per_s={"int8": 1}),
        "rates.matmul_macs_per_s is not one of float32",
    ),
    (
        "item",
        lambda d: d["kernel_samples"][0]["sample"].update(time_ns=1.5),
        "kernel_samples[0].sample.time_ns is not a whole number",
    ),
    (
        "zero",
        lambda d: d["kernel_samples"][0]["sample"].update(executed_macs=0),
        "kernel_samples[0].sample.executed_macs is 0",
    ),
    (
        "interval",
        lambda d: d["kernel_samples"][0]["sample"].update(time_ns=1),
        "kernel_samples[0].sample.time_ns lies outside its interval",
    ),
    ("rate", lambda d: d["rates"].update(copy_bytes_per_s=0), "rates.copy_bytes_per_s is 0"),
]


@pytest.mark.parametrize(
    ("change", "message"), [case[1:] for case in BAD_MACHINES], ids=[c[0] for c in BAD_MACHINES]
)
def test_a_bad_machine_is_told_in_a_line_that_says_what_would_be_right(
    change: Change, message: str, tmp_path: Path
) -> None:
    document = json.loads(MACHINE.to_json())
    change(document)
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(document))
    _assert_refused(str(path), message)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b'{"rows": []}', b"\xff\xfe", b"[" * 100_000]
)
def test_a_file_that_is_no_machine_is_told_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    path.write_bytes(content)
    _assert_refused(str(path), "has no machine in it")


def test_a_machine_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    _assert_refused(str(tmp_path / "none.json"), "there is no such file")
    _assert_refused(str(tmp_path), "cannot be read (Is a directory)")


def _assert_refused(path: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_machine(path)
    assert (caught.value.argument, caught.value.value) == ("machine", path)
    assert message in caught.value.expected
    assert caught.value.expected.endswith("make one with attnprof doctor --json machine.json")


def test_rounds_that_are_called_enough_are_enough() -> None:
    # Medians of that many ratios of a normal distribution, by simulation.
    spread, precision, draw = 0.08, 0.02, random.Random(0)
    rounds = rounds_needed(spread, precision)
    medians = [
        statistics.median(draw.gauss(1, spread / 1.349) for _ in range(rounds)) for _ in range(4000)
    ]
    within = sum(abs(median - 1) <= precision for median in medians) / len(medians)
    assert within == pytest.approx(0.99, abs=0.006)
    assert rounds_needed(0.0) == 1


IDLE = Conditions(
    logical_cores=2, usable_cores=2, physical_cores=2, threads=2, cores_used_by_others=0.0
)


@pytest.mark.parametrize(
    ("single", "paired", "grade"),
    [
        (0.01, 0.005, "quiet"),
        (0.01, QUIET, "quiet"),
        (0.03, 0.03, "usable"),
        (0.09, 0.01, "usable"),
        (0.05, 0.10, "noisy"),
        (0.29, 0.01, "noisy"),
        (0.10, 0.40, "very noisy"),
        (0.90, 0.01, "very noisy"),
    ],
)
def test_grades_follow_pairs_and_half_of_single_times(
    single: float, paired: float, grade: str
) -> None:
    assert diagnose(Noise(single_spread=single, paired_spread=paired), IDLE).grade == grade


NOISY = Noise(single_spread=0.12, paired_spread=0.08, outlier_spread=1.5)


def test_meaning_has_the_numbers_and_the_rounds_that_they_ask_for() -> None:
    singles, pairs = diagnose(NOISY, None).meaning
    assert "a band of 12 %" in singles
    assert "150 % or more above" in singles
    assert "a band of 8.0 %" in pairs
    assert "92 rounds make a 99 % interval of ±2 %" in pairs


@pytest.mark.parametrize(
    ("seen", "remedy"),
    [
        ({"cores_used_by_others": 1.3}, "other processes used 1.3 of 2 cores: stop them"),
        ({"stolen_share": 0.08}, "the hypervisor took 8.0 % of the time"),
        ({"threads": 4}, "4 threads on 2 cores: --threads 2"),
        ({"quota_cores": 1.5}, "the container may use 1.5 cores: --threads 1"),
        ({"physical_cores": 1}, "2 threads share 1 physical core: --threads 1"),
        ({"governor": "powersave"}, "governor is powersave"),
        ({"on_battery": True}, "runs on battery"),
    ],
)
def test_each_remedy_follows_from_what_was_seen(seen: dict[str, Any], remedy: str) -> None:
    found = diagnose(NOISY, replace(IDLE, **seen)).remedies
    assert len(found) == 1
    assert remedy in found[0]


def test_no_remedy_without_evidence_nor_on_a_quiet_machine() -> None:
    harmless = replace(IDLE, governor="performance", on_battery=False, stolen_share=0.0)
    assert diagnose(NOISY, harmless).remedies == (
        "nothing that was looked at explains it; longer budgets (--max-seconds) help",
    )
    quiet = Noise(single_spread=0.01, paired_spread=0.01)
    assert diagnose(quiet, replace(IDLE, cores_used_by_others=2.0)).remedies == ()


def test_noise_is_the_quartiles_of_times_and_of_ratios() -> None:
    # Ratios are exactly 1, whatever the times do together.
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


def test_others_are_what_is_busy_beside_this_process() -> None:
    before = system_load.CpuTimes(at=10.0, busy=100.0, own=5.0, stolen=1.0, all_cores=1000.0)
    after = system_load.CpuTimes(at=12.0, busy=103.5, own=6.5, stolen=1.2, all_cores=1004.0)
    seen = system_load.conditions(before, after, threads=3)
    assert (seen.cores_used_by_others, seen.stolen_share, seen.threads) == (1.0, 0.05, 3)
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
    """Six that can be timed, and one of a kernel that has no dilation."""
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


class Hospital:
    """Runs parts in this process; those that are named end as they are told to."""

    def __init__(self, fates: dict[object, Outcome]) -> None:
        self.fates = fates

    def run(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Outcome:
        named = [self.fates[key] for key in (function, *args) if key in self.fates]
        return named[0] if named else run_captured(function, *args)

    def __enter__(self) -> Hospital:
        return self

    def __exit__(self, *error: object) -> None:
        pass


FOUND = Outcome(("cpu", ENVIRONMENT, 2**33, 2))
QUICK: dict[object, Outcome] = {
    doctor_probes.probe_environment: FOUND,
    doctor_probes.matmul_rate: Outcome(ProbeResult(value=10**9)),
    doctor_probes.copy_rate: Outcome(ProbeResult(value=10**9)),
    doctor_probes.noise: Outcome((NOISY, IDLE)),
}


def test_kernels_are_timed_and_what_they_move_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_cases", small_cases)
    machine = doctor.profile_with(Hospital(QUICK), ProbeSettings(), lambda *_: None)
    assert not machine.failures
    by_case = {(one.kernel, one.sample.seq_len): one.sample for one in machine.kernel_samples}
    assert len(by_case) == len(small_cases("cpu")) - 1
    for case in small_cases("cpu")[:-1]:
        kernel, sample = kernels.find(case.kernel), by_case[case.kernel, case.workload.seq_len]
        held, peak = kernel.static_bytes(case.workload), kernel.peak_bytes(case.workload)
        assert sample.moved_bytes == held + 2 * peak
        assert sample.executed_macs == kernel.executed_macs(case.workload)
        assert 0 < sample.time_low_ns <= sample.time_ns <= sample.time_high_ns
    assert list(machine.left_out) == ["longformer-hf at 96 tokens"]
    assert "dilation" in machine.left_out["longformer-hf at 96 tokens"]


def test_what_has_no_time_left_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_cases", small_cases)
    slow = QUICK | {doctor_probes.matmul_rate: Outcome(ProbeResult(value=1))}
    machine = doctor.profile_with(Hospital(slow), ProbeSettings(max_seconds=0.5), lambda *_: None)
    assert not machine.kernel_samples
    reason = machine.left_out["bert-sdpa at 32 tokens"]
    assert reason == "no time left of 0.5 s; raise --max-seconds"


def test_times_that_others_disturbed_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_cases", lambda device: small_cases(device)[:1])
    for used, marked in ((0.1, {}), (0.9, {"bert-sdpa at 32 tokens": 0.9})):
        fates = QUICK | {
            doctor_probes.time_kernel: Outcome(ProbeResult(value=SAMPLE, cores_used_by_others=used))
        }
        machine = doctor.profile_with(Hospital(fates), ProbeSettings(), lambda *_: None)
        assert machine.disturbed == marked


def test_a_part_that_fails_is_told_and_the_rest_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fates = QUICK | {
        "float16": Outcome(failure="killed by SIGKILL"),
        doctor_probes.copy_rate: Outcome(failure="RuntimeError: no copies today"),
        doctor_probes.time_kernel: Outcome(ProbeResult(value=SAMPLE)),
    }
    del fates[doctor_probes.matmul_rate]
    monkeypatch.setattr(doctor_probes, "matmul_rate", rate_of_one)
    monkeypatch.setattr(doctor, "open_workers", lambda modules, hint: Hospital(fates))
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


def rate_of_one(setting: ProbeSettings, dtype: str, seconds: float) -> ProbeResult:
    return ProbeResult(value=10**12)


def test_noise_is_left_out_without_the_rate_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "_cases", lambda device: ())
    fates = QUICK | {doctor_probes.matmul_rate: Outcome(failure="took more than 1 s")}
    machine = doctor.profile_with(Hospital(fates), ProbeSettings(), lambda *_: None)
    assert machine.noise is None
    assert machine.left_out["noise"] == "it is measured with float32 products, which failed"
    path = tmp_path / "machine.json"
    path.write_text(machine.to_json())
    assert read_machine(str(path)) == machine


def test_a_page_says_everything_once_and_fits_eighty_columns() -> None:
    machine = replace(
        MACHINE,
        left_out={f"kernel-{k} at {n} tokens": "no time" for n in (64, 32) for k in "ab"},
        disturbed={"kernel-a at 64 tokens": 0.4, "float32": 1.3},
    )
    sections = {section.heading: section for section in render_doctor(machine)}
    assert list(sections) == [
        "Machine",
        "Rates on cpu",
        "Kernels: float32, inference, 768 wide, 12 heads, window 512, 1 global token",
        "Noise: quiet (score 2.0 %)",
        "Disturbed",
        "Failed",
        "Left out",
    ]
    assert sections["Failed"].sentences == ("float16: killed by SIGKILL",)
    assert sections["Left out"].sentences == (
        "kernel-a, kernel-b at 64 tokens; kernel-a, kernel-b at 32 tokens: no time",
    )
    (disturbed,) = sections["Disturbed"].sentences
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


BAD_OPTIONS = [
    ("--device abacus", "--device abacus: choose from auto, cpu, cuda"),
    ("--threads 0", "--threads 0: a positive whole number"),
    ("--max-seconds 0", "--max-seconds 0: a positive number of seconds"),
    ("--json /no/such/folder/m.json", "--json /no/such/folder/m.json: there is no folder"),
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
    monkeypatch.setattr(doctor, "open_workers", lambda modules, hint: Hospital({}))
    result = CliRunner().invoke(app, ["doctor", "--device", "cuda"])
    assert result.exit_code == UsageError.exit_code
    assert "torch sees no CUDA device here" in result.stderr


def test_a_machine_is_examined_from_end_to_end_without_torch_in_the_caller(tmp_path: Path) -> None:
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
    for heading in ("Machine", "Rates on cpu", "Noise: ", "Left out"):
        assert heading in done.stdout
    assert f"written: {path}" in done.stdout
