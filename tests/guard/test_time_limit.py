"""Time limits: ratios of paired rounds, their verdicts, and what prevents one."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from guard_project import Project, contract, terms

from attnprof.core.errors import MeasurementError
from attnprof.core.intervals import Interval
from attnprof.guard import check as guard_check
from attnprof.guard.timing import TimeRatio, confirmed_time_ratio, time_against_reference
from attnprof.isolation.workers import InProcessWorkers
from attnprof.measure import worker_tasks


def time_ratio(low: float, middle: float, high: float) -> TimeRatio:
    return TimeRatio(Interval(middle, low, high), 8)


def test_a_time_limit_is_kept_or_broken_only_by_the_whole_interval() -> None:
    assert time_ratio(0.5, 0.55, 0.59).outcome(0.6) == "kept"
    assert time_ratio(0.61, 0.7, 0.8).outcome(0.6) == "broken"
    assert time_ratio(0.5, 0.55, 0.61).outcome(0.6) == "undecided"


@pytest.mark.usefixtures("undisturbed")
def test_the_time_ratio_of_one_run_breaks_or_keeps_the_limit(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        guard_check,
        "confirmed_time_ratio",
        lambda contract, folder, _, timeout: confirmed_time_ratio(
            contract, folder, InProcessWorkers(), timeout
        ),
    )
    slow = contract(
        "slow",
        "bert-eager",
        [64, 128],
        'time = { reference = "bert-sdpa", at = 256, max = 0.01 }',
    )
    fast = contract(
        "fast", "bert-sdpa", [64, 128], 'time = { reference = "bert-sdpa", at = 256, max = 50 }'
    )
    project.says(slow + fast)
    project.init()
    broken, kept = project.check().results
    assert terms(broken) == ["time"]
    assert re.search(
        r"takes \S+x bert-sdpa's time at 256 tokens \(.* rounds\), in both of two runs$",
        broken.breaches[0].says)  # fmt: skip
    assert kept.status == "kept"
    assert "x bert-sdpa's time at 256 tokens" in kept.facts
    untimed = guard_check.check(
        project.configuration, project.contracts(), project.workers, with_time=False
    )
    assert untimed.exit_code == 0


def test_a_kernel_whose_output_is_wrong_is_not_timed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)  # timing changes to this folder
    monkeypatch.setattr(worker_tasks, "check_output", lambda case: f"{case.kernel} is off by one")
    time = 'time = { reference = "bert-sdpa", at = 256, max = 50 }'
    project.says(contract("eager", "bert-eager", [64, 128], time))
    (eager,) = project.contracts()
    with pytest.raises(
        MeasurementError, match="the target computes a wrong result: bert-eager is off by one"
    ):
        time_against_reference(eager, project.folder)


def test_an_undecided_time_warns_and_fails_when_strict(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = 'time = { reference = "bert-sdpa", at = 256, max = 1 }'
    project.says(contract("near", "bert-sdpa", [64, 128], time))
    project.init()
    monkeypatch.setattr(guard_check, "confirmed_time_ratio", lambda *_: time_ratio(0.9, 1.0, 1.1))
    (result,) = project.check().results
    assert result.status == "undecided"
    (note,) = result.notes
    assert note == (
        "time is undecided: 1.00x bert-sdpa's time at 256 tokens (0.90x to 1.10x, 8 rounds), "
        "too close to the limit of 1x"
    )
    assert project.check().exit_code == 0
    assert project.check(is_strict=True).exit_code == 1


def test_a_time_that_cannot_be_measured_now_is_undecided_with_the_reason(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "not measurable now: other processes used 1.0 of 2 cores; close them"
    withheld = replace(time_ratio(2.0, 2.1, 2.2), withheld=reason)
    assert withheld.outcome(1.0) == "undecided"
    time = 'time = { reference = "bert-sdpa", at = 256, max = 1 }'
    project.says(contract("near", "bert-sdpa", [64, 128], time))
    project.init()
    monkeypatch.setattr(guard_check, "confirmed_time_ratio", lambda *_: withheld)
    (result,) = project.check().results
    assert (result.status, result.notes) == ("undecided", (f"time is undecided: {reason}",))
