"""Rates between the rounds: few samples, their medians, failures that harm nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from workloads import HEADS, groups_by_length

from attnprof import AttentionPattern, ResultTable, Workload
from attnprof.core.records import COPY_RATE, MATMUL_RATE
from attnprof.core.result_table import Row
from attnprof.core.workload import Case
from attnprof.isolation.outcome import Outcome
from attnprof.isolation.workers import InProcessWorkers
from attnprof.measure import rate_probes, runner
from attnprof.measure.rate_probes import MIN_SAMPLES, RateProbes, RateSample
from attnprof.measure.single_case import MeasureSettings
from attnprof.options import read_cases

CASE = Case("bert-sdpa", Workload(AttentionPattern.dense(HEADS), 64, 64))


def test_rates_are_medians_of_their_samples() -> None:
    rates = iter([(5, 50), (1, 20), (9, 30)])
    probes = RateProbes(lambda dtype: Outcome(RateSample(*next(rates))), ("float32",))
    for _ in range(MIN_SAMPLES):
        probes.after_round()
    records = {record.quantity: record.value for record in probes.records(CASE)}
    assert records == {MATMUL_RATE: 5, COPY_RATE: 30}


def test_samples_after_the_first_take_a_tenth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 0.0
    monkeypatch.setattr(rate_probes.time, "monotonic", lambda: seconds)
    taken: list[float] = []

    def sample(dtype: Any) -> Outcome:
        nonlocal seconds
        seconds += 0.01
        taken.append(seconds)
        return Outcome(RateSample(1, 1))

    probes = RateProbes(sample, ("float32",))
    probes._start = 0.0
    for _ in range(1000):
        seconds += 0.002
        probes.after_round()
    assert len(taken) == pytest.approx(0.1 * seconds / 0.01, abs=2)


def test_a_failure_leaves_the_rates_empty_and_is_not_repeated() -> None:
    calls: list[str] = []

    def fail(dtype: Any) -> Outcome:
        calls.append(dtype)
        return Outcome(failure="TypeError: no", status="error")

    probes = RateProbes(fail, ("float32",))
    probes.after_round()
    probes.after_round()
    assert calls == ["float32"]
    (record,) = probes.records(CASE)
    assert record.value is None
    assert record.detail.endswith("TypeError: no")


def measured_row(max_seconds: float) -> Row:
    cases = read_cases({"len": 64, "kernel": "bert-sdpa", "hidden_size": 32, "num_heads": 4}, "cpu")
    settings = MeasureSettings(count=False, memory=False, max_seconds=max_seconds)
    (row,) = ResultTable(runner.measure(groups_by_length(cases), settings, InProcessWorkers())).rows
    return row


@pytest.mark.usefixtures("undisturbed")
def test_a_timed_row_has_the_rates_its_bound_and_its_utilisation() -> None:
    row = measured_row(max_seconds=rate_probes.LEAST_BUDGET_SECONDS)
    values = row.values
    assert values[MATMUL_RATE] > 0
    assert row.cells()["bound"] in ("compute", "memory")
    reached = values["executed_macs"] / values["time_ns"] * 1e9 / values[MATMUL_RATE]
    assert values["utilisation"] == pytest.approx(reached, abs=1e-4)
    assert rate_probes._tasks == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_rates_of_a_gpu_are_those_of_one() -> None:
    sample = rate_probes.sample_rates("bfloat16", "cuda")
    rate_probes.clear()
    assert sample.macs_per_s > 10**12
    assert sample.bytes_per_s > 10**11


def test_a_small_budget_has_no_time_for_rates() -> None:
    assert MATMUL_RATE not in measured_row(max_seconds=0.05).values
