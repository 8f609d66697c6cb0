"""Which cases are skipped because they would take far longer than the budget; nothing is timed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workloads import groups_by_length

import attnprof
from attnprof import ResultTable, kernels
from attnprof.core.machine import KernelSample, Machine, Rates, Sample
from attnprof.core.records import WITHHELD, Record
from attnprof.core.result_table import Row
from attnprof.core.workload import Case
from attnprof.isolation.workers import InProcessWorkers
from attnprof.measure import feasibility, runner, throughput, worker_tasks
from attnprof.measure.disturbance import Timed
from attnprof.measure.single_case import MeasureSettings
from attnprof.measure.slow_cases import SLOWEST_RATE, SlowCases
from attnprof.options import read_cases

SMALL: dict[str, Any] = {"hidden_size": 32, "num_heads": 4, "window": 16}
ROOMY = 2**50


def case(seq_len: int, kernel: str = "bert-sdpa", **options: Any) -> Case:
    shape: Any = {"len": seq_len, "kernel": kernel, **SMALL, **options}
    (only_case,) = read_cases(shape, "cpu")
    return only_case


def timed(seq_len: int, seconds: float) -> list[Record]:
    timed_case = case(seq_len)
    kernel, workload = timed_case.kernel, timed_case.workload
    macs = kernels.find(kernel).executed_macs(workload)
    values = {"executed_macs": macs, "time_ns": round(seconds * 1e9)}
    return [Record(kernel, workload, name, value) for name, value in values.items()]


class Rate(InProcessWorkers):
    """Workers of a machine with a known rate, and how often the rate was measured."""

    def __init__(self, macs_per_s: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.measured = 0

        def fastest(*_: object) -> int:
            self.measured += 1
            return macs_per_s

        monkeypatch.setattr(worker_tasks, "fastest_rate", fastest)


def machine(seconds_at_4096: float) -> Machine:
    workload = case(4096).workload
    kernel = kernels.find("bert-sdpa")
    nanoseconds = round(seconds_at_4096 * 1e9)
    sample = Sample(
        seq_len=4096,
        executed_macs=kernel.executed_macs(workload),
        moved_bytes=kernels.moved_bytes(kernel, workload),
        time_ns=nanoseconds,
        time_low_ns=nanoseconds,
        time_high_ns=nanoseconds,
    )
    kernel_sample = KernelSample(
        kernel="bert-sdpa", dtype="float32", mode="inference", scope="attention", sample=sample
    )
    known = Rates(matmul_macs_per_s={"float32": 10**11}, copy_bytes_per_s=10**10)
    return Machine(
        device="cpu",
        environment={},
        memory_bytes=ROOMY,
        rates=known,
        noise=None,
        kernel_samples=(kernel_sample,),
    )


def test_shorter_lengths_predict_the_time_and_no_rate_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rate = Rate(1, monkeypatch)
    slow = SlowCases(1.0, rate, 60)
    assert slow.reason(case(4096), timed(2048, 0.1)) == ""
    # Four times the scores of 10 s, with an interval of 22 %.
    reason = slow.reason(case(4096), timed(2048, 10))
    assert reason.startswith("one call is predicted to take at least ")
    assert reason.endswith(", far beyond --max-seconds 1; raise it, or add --allow-slow")
    assert rate.measured == 0


def test_disturbed_times_are_not_used_for_predictions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disturbed = Record("bert-sdpa", case(2048).workload, WITHHELD, 1)
    slow = SlowCases(1.0, Rate(10**12, monkeypatch), 60)
    assert slow.reason(case(4096), [*timed(2048, 10), disturbed]) == ""


def test_a_stored_machine_predicts_the_time_if_nothing_shorter_ran(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rate = Rate(1, monkeypatch)
    assert SlowCases(1.0, rate, 60, machine(0.1)).reason(case(4096), []) == ""
    assert SlowCases(1.0, rate, 60, machine(10)).reason(case(4096), []) != ""
    assert rate.measured == 0


@pytest.mark.parametrize(("budgets", "is_slow"), [(1.9, False), (2.1, True)])
def test_otherwise_macs_at_the_best_rate_are_the_lower_bound(
    monkeypatch: pytest.MonkeyPatch, budgets: float, is_slow: bool
) -> None:
    long_case = case(2**20)
    macs = kernels.find(long_case.kernel).executed_macs(long_case.workload)
    rate = Rate(round(macs / (0.3 * budgets)), monkeypatch)
    slow = SlowCases(0.3, rate, 60)
    assert bool(slow.reason(long_case, [])) == is_slow
    slow.reason(long_case, [])
    assert rate.measured == 1


def test_cases_fast_enough_on_any_machine_need_no_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rate = Rate(1, monkeypatch)
    short_case = case(256)
    assert kernels.find(short_case.kernel).executed_macs(short_case.workload) < SLOWEST_RATE
    assert SlowCases(1.0, rate, 60).reason(short_case, []) == ""
    assert rate.measured == 0


def test_slow_cases_run_if_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowCases(0.3, Rate(1, monkeypatch), 60, is_allowed=True)
    assert slow.reason(case(2**20), timed(512, 100)) == ""


def rows(measurements: MeasureSettings, with_machine: Machine | None = None) -> list[Row]:
    cases = [case(64), case(2**20)]
    records = runner.measure(
        groups_by_length(cases), measurements, InProcessWorkers(), machine=with_machine
    )
    return ResultTable(records).rows


@pytest.mark.parametrize("count", [True, False])
def test_a_slow_case_is_skipped_before_it_is_counted_or_timed(
    monkeypatch: pytest.MonkeyPatch, count: bool
) -> None:
    monkeypatch.setattr(feasibility, "available_bytes", lambda device: ROOMY)
    Rate(10**11, monkeypatch)
    built: list[int] = []
    kernel = kernels.find("bert-sdpa")
    build: Callable[[Any], Any] = kernel.build

    def watched(workload: Any) -> Any:
        built.append(workload.seq_len)
        return build(workload)

    monkeypatch.setattr(kernel, "build", watched)
    wanted = MeasureSettings(count=count, time=not count, memory=False, max_seconds=0.05)
    short, long = rows(wanted)
    assert (short.status, long.status) == ("ok", "skipped")
    assert "--allow-slow" in long.detail
    assert set(built) == {64}
    assert "executed_macs" in long.values


def test_a_stored_machine_reaches_the_rows_that_were_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`compare --machine`: a case that does not fit here has a time for the stored machine."""
    path = tmp_path / "machine.json"
    path.write_text(machine(0.25).to_json())
    monkeypatch.setattr(feasibility, "available_bytes", lambda device: 2**20)
    options: Any = {**SMALL, "len": 4096, "kernel": "bert-sdpa", "device": "cpu"}
    (row,) = attnprof.compare(**options, machine=str(path), no_isolation=True).rows
    assert row.status == "skipped"
    assert row.values["predicted_time_ns"] == pytest.approx(0.25e9, rel=1e-6)
    assert "predicted: 250 ms" in row.detail
    (without,) = attnprof.compare(**options, no_isolation=True).rows
    assert "predicted_time_ns" not in without.values


def test_the_best_rate_excludes_the_time_that_threads_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throughput, "LARGEST_SIDE", {"cpu": 64})
    monkeypatch.setattr(throughput, "SMALLEST_SIDE", 64)
    times = iter([Timed(9000, 1000), Timed(5000, 4500), Timed(600)])

    def timer(run: Callable[[], object]) -> Timed:
        return next(times)

    assert throughput.fastest_macs_per_s("float32", "cpu", timer, 1.0) == 64**3 * 2_000_000
