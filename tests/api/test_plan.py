from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from loaded_modules import loaded_by
from machines import MACHINE
from studies import NUM_CASES, groups_of, results_of, saved

from attnprof import kernels
from attnprof.api import plan as plans
from attnprof.api.plan import plan_compare
from attnprof.report.plan import Plan, plan_sentences, plan_tables


@pytest.fixture
def study(tmp_path: Path) -> str:
    groups_of(tmp_path)
    return str(tmp_path / "study.toml")


def plan(study: str, **options: Any) -> Plan:
    return plan_compare({"sweep": study, **options})


def test_all_cases_are_listed_with_their_memory(study: str) -> None:
    found = plan(study, max_seconds=3)
    assert len(found.cases) == found.num_cases == NUM_CASES
    assert {planned.fate for planned in found.cases} == {"runs"}
    for planned in found.cases:
        kernel, workload = kernels.find(planned.case.kernel), planned.case.workload
        assert planned.memory_bytes == kernel.static_bytes(workload) + kernel.peak_bytes(workload)
    assert found.most_seconds == 8 * 3
    rows = [row for table in plan_tables(found) for row in table.rows]
    assert len(rows) == NUM_CASES
    assert len({row[:2] for table in plan_tables(found) for row in table.rows}) == 6
    assert plan_sentences(found)[0].startswith(f"0 of {NUM_CASES} cases done; {NUM_CASES} to run")


def test_shards_list_their_own_cases(study: str) -> None:
    shards = [plan(study, shard=f"{index}/3") for index in (1, 2, 3)]
    cases = [planned.case for shard in shards for planned in shard.cases]
    assert len(cases) == len(set(cases)) == NUM_CASES
    assert "of shard 2/3" in plan_sentences(shards[1])[0]


def test_finished_cases_are_done_and_predict_the_others(study: str, tmp_path: Path) -> None:
    part = groups_of(tmp_path, "1/3")
    saved(tmp_path, "part.json", results_of(part))
    found = plan(study, json=str(tmp_path / "part.json"), no_count=True, no_memory=True)
    done = {planned.case for planned in found.of_fate("done")}
    assert done == {case for group in part.here for case in group}
    running = found.of_fate("runs")
    assert len(done) + len(running) == NUM_CASES
    assert any(planned.time_ns for planned in running)
    assert "the times of finished cases" in found.basis
    recount = plan(study, json=str(tmp_path / "part.json"), no_memory=True)
    assert recount.of_fate("done") == []


def test_what_cannot_run_says_why(study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "available_bytes", lambda device: 100_000)
    found = plan(study)
    kept, left_out = found.of_fate("runs"), found.of_fate("does not fit")
    assert kept
    assert left_out
    assert all(planned.reason.startswith("needs ") for planned in left_out)
    assert any("does not fit" in sentence for sentence in plan_sentences(found))
    dilated = plan_compare({"kernel": ["longformer-hf"], "len": 512, "dilation": 2})
    assert [planned.fate for planned in dilated.cases] == ["unsupported"]


def test_a_machine_profile_predicts_times_and_what_is_too_slow(study: str, tmp_path: Path) -> None:
    profile = tmp_path / "machine.json"
    profile.write_text(MACHINE.to_json())
    found = plan(study, machine=str(profile), max_seconds=5)
    assert all(planned.time_ns for planned in found.cases)
    assert found.basis == "--machine"
    assert "≈ " in next(plan_tables(found)).rows[0][2]
    slow = plan(study, machine=str(profile), max_seconds=1e-9)
    assert {planned.fate for planned in slow.cases} == {"too slow"}
    assert slow.most_seconds == 0
    allowed = plan(study, machine=str(profile), max_seconds=1e-9, allow_slow=True)
    assert {planned.fate for planned in allowed.cases} == {"runs"}
    assert allowed.most_seconds > 8e-9


def test_planning_loads_no_torch(study: str) -> None:
    code = (
        "from attnprof.cli import app; "
        f"app(['compare', '--sweep', {study!r}, '--dry-run'], standalone_mode=False)"
    )
    assert "torch" not in loaded_by(code)
