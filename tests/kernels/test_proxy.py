"""What is the user's own, asked in a process of its own: the answers are those of this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from patience import PATIENCE_SECONDS

from attnprof import kernels
from attnprof.core.errors import FailedError, UsageError
from attnprof.isolation.fork_server import ForkServer
from attnprof.kernels import custom
from attnprof.kernels.custom.proxy import TargetProxy
from attnprof.kernels.custom.target import Target
from attnprof.measure import worker_tasks
from attnprof.options import read_cases

SECONDS = PATIENCE_SECONDS
SMALL = {"hidden_size": 64, "num_heads": 4}


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer(worker_tasks.modules(["mixers:Dense"])) as server:
        yield server


@pytest.fixture
def apart(server: ForkServer) -> Iterator[custom.TargetProxies]:
    with custom.custom_kernels_in(server, SECONDS) as apart:
        yield apart


def workload(kernel: str, seq_len: int = 64):
    (case,) = read_cases({**SMALL, "kernel": kernel, "len": seq_len}, "cpu")  # type: ignore[typeddict-item]
    return case.workload


@pytest.mark.parametrize("name", ["mixers:Dense", "mixers:Linear"])
def test_answers_are_those_of_this_process(server: ForkServer, name: str) -> None:
    here = kernels.find(name)
    assert isinstance(here, Target)
    asked = workload(name)
    with custom.custom_kernels_in(server, SECONDS):
        there = kernels.find(name)
        assert isinstance(there, TargetProxy)
        assert workload(name) == asked
        for what in (
            "parameters",
            "static_bytes",
            "executed_macs",
            "peak_bytes",
            "unsupported_reason",
        ):
            assert getattr(there, what)(asked) == getattr(here, what)(asked), what
        assert there.source_digest() == here.source_digest() != ""
    assert kernels.find(name) is here


@pytest.mark.usefixtures("apart")
def test_what_kills_on_import_is_told_by_its_rows_and_this_process_lives() -> None:
    asked = workload("fatal_import:Net")
    with pytest.raises(FailedError, match="killed by SIGSEGV when it was imported"):
        kernels.find("fatal_import:Net").executed_macs(asked)
    assert "fatal_import" not in sys.modules


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("name", ["fatal:Nope", "nowhere:Net", "mixers:", "mixers:__doc__"])
def test_what_cannot_be_used_is_refused_as_in_this_process(name: str) -> None:
    with pytest.raises(UsageError, match="kernel"):
        workload(name)


def test_lengths_that_kill_hang_or_leave_cost_their_own_answer_only(
    apart: custom.TargetProxies,
) -> None:
    asked = workload("fatal:Late")
    late = kernels.find("fatal:Late")
    for seq_len, status, words, max_seconds in (
        (200, "error", "SystemExit: 3", SECONDS),
        (300, "error", "killed by SIGKILL", SECONDS),
        (150, "timeout", "took more than 1 s", 1.0),
    ):
        apart.max_seconds = max_seconds
        with pytest.raises(FailedError, match=words) as raised:
            late.executed_macs(asked.at(seq_len))
        assert raised.value.status == status
    apart.max_seconds = SECONDS
    assert late.executed_macs(asked.at(100)) == 100 * 64 * 64


def test_answers_are_asked_for_once(
    apart: custom.TargetProxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = workload("mixers:Dense")
    kernel = kernels.find("mixers:Dense")
    first = kernel.executed_macs(asked)
    kernel.close()  # type: ignore[union-attr]

    def fails() -> None:
        raise AssertionError("another process was asked")

    monkeypatch.setattr(apart.workers, "worker", fails)
    assert kernel.executed_macs(asked) == first
