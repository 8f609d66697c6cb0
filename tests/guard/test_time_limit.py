"""Contracts as they are read, the lock as it is written, and what a check comes to."""

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


def raced(low: float, middle: float, high: float) -> TimeRatio:
    return TimeRatio(Interval(middle, low, high), 8)


def test_a_time_is_broken_or_kept_by_the_whole_interval() -> None:
    assert raced(0.5, 0.55, 0.59).outcome(0.6) == "kept"
    assert raced(0.61, 0.7, 0.8).outcome(0.6) == "broken"
    assert raced(0.5, 0.55, 0.61).outcome(0.6) == "undecided"


@pytest.mark.usefixtures("undisturbed")
def test_time_is_a_ratio_within_one_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        guard_check,
        "confirmed_time_ratio",
        lambda one, folder, _, timeout: confirmed_time_ratio(
            one, folder, InProcessWorkers(), timeout
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
    assert re.search(r"takes \S+ of bert-sdpa's time at 256 tokens \(.* rounds\), twice seen",
                     broken.breaches[0].says)  # fmt: skip
    assert kept.status == "kept"
    assert "of bert-sdpa's time at 256 tokens" in kept.facts
    untimed = guard_check.check(
        project.configuration, project.contracts(), project.workers, with_time=False
    )
    assert untimed.exit_code == 0


def test_a_kernel_whose_output_is_wrong_is_not_raced(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)  # where a race goes, and stays
    monkeypatch.setattr(worker_tasks, "wrong_output", lambda case: f"{case.kernel} is off by one")
    time = 'time = { reference = "bert-sdpa", at = 256, max = 50 }'
    project.says(contract("one", "bert-eager", [64, 128], time))
    (one,) = project.contracts()
    with pytest.raises(MeasurementError, match="the target is wrong: bert-eager is off by one"):
        time_against_reference(one, project.folder)


def test_an_undecided_time_warns_and_fails_when_strict(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = 'time = { reference = "bert-sdpa", at = 256, max = 1 }'
    project.says(contract("near", "bert-sdpa", [64, 128], time))
    project.init()
    monkeypatch.setattr(guard_check, "confirmed_time_ratio", lambda *_: raced(0.9, 1.0, 1.1))
    (result,) = project.check().results
    assert result.status == "undecided"
    (note,) = result.notes
    assert note == (
        "time is undecided: 1.00 of bert-sdpa's time at 256 tokens (0.90 to 1.10, 8 rounds), "
        "too near to 1 to tell"
    )
    assert project.check().exit_code == 0
    assert project.check(is_strict=True).exit_code == 1


def test_a_time_that_cannot_be_measured_now_is_undecided_and_says_why(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "not measurable now: other processes used 1.0 of 2 cores; close them"
    one = replace(raced(2.0, 2.1, 2.2), withheld=why)
    assert one.outcome(1.0) == "undecided"
    time = 'time = { reference = "bert-sdpa", at = 256, max = 1 }'
    project.says(contract("near", "bert-sdpa", [64, 128], time))
    project.init()
    monkeypatch.setattr(guard_check, "confirmed_time_ratio", lambda *_: one)
    (result,) = project.check().results
    assert (result.status, result.notes) == ("undecided", (f"time is undecided: {why}",))
