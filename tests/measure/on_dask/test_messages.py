"""Groups and records as plain data, and what is decided without any process."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnprof.core.errors import UsageError
from attnprof.core.pattern import AttentionPattern
from attnprof.core.records import CASE, Record
from attnprof.core.typed_json import parse_object, read_as
from attnprof.core.workload import Case, Workload
from attnprof.kernels.custom.mask_function import mask_pattern, parse_mask_function
from attnprof.measure import worker_tasks
from attnprof.measure.on_dask import target as targets
from attnprof.measure.on_dask.following import Follower
from attnprof.measure.on_dask.group_state import GroupState
from attnprof.measure.on_dask.messages import (
    IN_ROUNDS,
    GroupTask,
    Versions,
    case_data,
    read_case,
    to_text,
    wire_record,
)
from attnprof.measure.on_dask.target import DaskTarget, read_dask_target
from attnprof.measure.on_dask.versions import versions
from attnprof.measure.single_case import MeasureSettings
from attnprof.options import read_cases

EXAMPLES = Path(__file__).parents[3] / "examples"


def through_json(case: Case) -> Case:
    return read_case(json.loads(json.dumps(case_data(case))))


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.sampled_from(["bert-sdpa", "longformer-banded", "my.module:Net(x=batch,len,8)"]),
    seq_len=st.integers(64, 10**7),
    grid=st.fixed_dictionaries(
        {
            "window": st.sampled_from(["16", "16:32:64", "8x2:full"]),
            "dilation": st.sampled_from(["1", "2", "1x2:4x2"]),
            "global_tokens": st.sampled_from(["0", "1", "@0:7:40"]),
            "dtype": st.sampled_from(["float32", "bfloat16"]),
            "mode": st.sampled_from(["inference", "training"]),
            "scope": st.sampled_from(["attention", "layer"]),
            "batch_size": st.integers(1, 4),
            "causal": st.booleans(),
        }
    ),
)
def test_a_case_is_the_same_after_a_round_trip(
    kernel: str, seq_len: int, grid: dict[str, Any]
) -> None:
    shape: Any = {"hidden_size": 32, "num_heads": 4, "len": seq_len, "kernel": "longformer-masked"}
    for case in read_cases({**shape, **grid}, "cpu"):
        case = replace(case, kernel=kernel)
        assert through_json(case) == case


def test_a_mask_of_a_user_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for text in ("own_masks:growing_windows", "own_masks:chunks_with_sinks:chunk=64", "bigbird"):
        pattern = mask_pattern(parse_mask_function(text), 2, 256)
        case = Case("longformer-masked", Workload(pattern, 256, hidden_size=8))
        again = through_json(case)
        assert again == case
        assert again.workload.pairs == case.workload.pairs


def test_nothing_of_the_package_or_the_user_is_pickled() -> None:
    pytest.importorskip("distributed")
    from distributed.protocol.pickle import dumps

    from attnprof.measure.on_dask import worker_side

    for function in (worker_side.greet, worker_side.measure_group, worker_side.leave):
        content = dumps(function)
        assert len(content) < 200
        assert pickle.loads(content) is function
    case = Case("pkg.mod:Net", Workload(AttentionPattern.dense(2), 64, hidden_size=8))
    task = GroupTask(
        run="r",
        attempt=1,
        token="t",
        cases=(case_data(case),),
        settings=MeasureSettings(),
        known=(wire_record(0, Record(case.kernel, case.workload, "executed_macs", 10**30)),),
        sources={},
        masks="",
    )
    text = to_text(task)
    assert read_as(GroupTask, parse_object(text)) == read_as(
        GroupTask, json.loads(json.dumps(asdict(task)))
    )
    assert str(10**30) in text


def group(count: int = 3) -> GroupState:
    pattern = AttentionPattern.dense(2)
    cases = [Case(f"k{index}", Workload(pattern, 64, hidden_size=8)) for index in range(count)]
    return GroupState(cases)


def given_up(records: Any) -> list[tuple[str, str, str]]:
    return [(one.kernel, one.status, one.detail) for one in records]


def test_a_case_is_given_up_after_the_second_death_and_others_are_not_blamed() -> None:
    state = group()
    assert given_up(state.worker_died((1, False))) == []
    assert given_up(state.worker_died((2, False))) == []
    assert given_up(state.worker_died((1, False))) == [
        ("k1", "error", "its worker died twice while it ran")
    ]
    assert state.closed == {1}
    assert not state.is_finished


def test_a_case_that_ends_its_worker_in_rounds_is_found_on_the_second_attempt() -> None:
    state = group()
    assert given_up(state.worker_died((IN_ROUNDS, True))) == []
    assert state.is_careful
    assert given_up(state.worker_died((0, True))) == [
        ("k0", "error", "its worker died twice while it was timed")
    ]


def test_deaths_before_any_case_are_bounded() -> None:
    state = group(2)
    assert given_up(state.worker_died(None)) == []
    assert len(given_up(state.worker_died(None))) == 2
    assert state.is_finished


def test_a_record_that_comes_twice_is_taken_once() -> None:
    state = group(1)
    case = state.cases[0]
    value = Record(case.kernel, case.workload, "operator_macs", 7)
    end = Record(case.kernel, case.workload, CASE, None, "ok", "")
    records = [wire_record(0, value), wire_record(0, value), wire_record(0, end)]
    assert list(state.take(records)) == [value, end]
    assert list(state.take(records)) == []


def test_each_case_is_announced_before_it_runs_and_rounds_once() -> None:
    cases = group().cases
    announced: list[tuple[int, bool]] = []
    follower = Follower(cases, lambda index, timed: announced.append((index, timed)), False)
    follower.before(worker_tasks.count_with, (cases[1], "operator"))
    follower.before(worker_tasks.peak_memory, (cases[1],))
    for _ in range(3):
        for case in cases[:2]:
            follower.before(worker_tasks.timed, (case,))
    assert announced == [(1, False), (0, True), (1, True), (IN_ROUNDS, True)]


def test_versions_that_differ_are_named() -> None:
    here = versions()
    other = replace(here, packages={**here.packages, "torch": "1.0"})
    (text,) = other.differences(here)
    assert text == f"torch 1.0 (here {here.packages['torch']})"
    assert Versions(python=here.python, packages=here.packages, source="x").differences(here) == [
        "other source files of attnprof"
    ]


@pytest.mark.parametrize("value", ["", "local", "local:", "local:x", "local:-1", "host:8786", "4"])
def test_what_is_no_cluster_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="must be local:N, or the address of a scheduler"):
        read_dask_target(value)


def test_clusters_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "usable_cores", lambda: 4)
    assert read_dask_target(None) is None
    assert read_dask_target("local:2") == DaskTarget("local:2", 2)
    assert DaskTarget("local:2", 2).threads == 2
    assert read_dask_target("tls://a.b:1") == DaskTarget("tls://a.b:1")
    assert read_dask_target("local:4") == DaskTarget("local:4", 4)
    with pytest.raises(UsageError, match=r"^dask local:5: must be at most local:4 here, one"):
        read_dask_target("local:5")
    with pytest.raises(UsageError, match="at least local:1"):
        read_dask_target("local:0")
    monkeypatch.setattr(targets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs dask.distributed: pip install 'attnprof\[dask\]'"):
        read_dask_target("local:2")


def test_progress_says_what_is_left_after_the_last_case() -> None:
    pytest.importorskip("distributed")
    from attnprof.measure.on_dask import client_side

    assert client_side.activity(0, 8, 2) == "0 of 8 cases, 2 workers"
    assert client_side.activity(7, 8, 0) == "7 of 8 cases, 0 workers, waiting for a worker"
    assert client_side.activity(8, 8, 2) == "8 of 8 cases, closing the workers"
