"""Custom kernels in worker processes: they return the same as in this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from timeouts import PATIENCE_SECONDS

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
def proxies(server: ForkServer) -> Iterator[custom.TargetProxies]:
    with custom.custom_kernels_in(server, SECONDS) as proxies:
        yield proxies


def workload(kernel: str, seq_len: int = 64):
    (case,) = read_cases({**SMALL, "kernel": kernel, "len": seq_len}, "cpu")  # type: ignore[typeddict-item]
    return case.workload


@pytest.mark.parametrize("name", ["mixers:Dense", "mixers:Linear"])
def test_results_equal_those_of_this_process(server: ForkServer, name: str) -> None:
    here = kernels.find(name)
    assert isinstance(here, Target)
    case = workload(name)
    with custom.custom_kernels_in(server, SECONDS):
        there = kernels.find(name)
        assert isinstance(there, TargetProxy)
        assert workload(name) == case
        for method in (
            "parameters",
            "static_bytes",
            "executed_macs",
            "macs_by_operator",
            "peak_bytes",
            "unsupported_reason",
        ):
            assert getattr(there, method)(case) == getattr(here, method)(case), method
        assert there.source_digest() == here.source_digest() != ""
    assert kernels.find(name) is here


@pytest.mark.usefixtures("proxies")
def test_a_crash_on_import_is_reported_in_its_rows_and_this_process_survives() -> None:
    case = workload("fatal_import:Net")
    with pytest.raises(FailedError, match="killed by SIGSEGV when it was imported"):
        kernels.find("fatal_import:Net").executed_macs(case)
    assert "fatal_import" not in sys.modules


@pytest.mark.usefixtures("proxies")
@pytest.mark.parametrize("name", ["fatal:Nope", "nowhere:Net", "mixers:", "mixers:__doc__"])
def test_unusable_kernels_are_usage_errors_as_in_this_process(name: str) -> None:
    with pytest.raises(UsageError, match="kernel"):
        workload(name)


def test_lengths_that_crash_hang_or_exit_do_not_affect_the_others(
    proxies: custom.TargetProxies,
) -> None:
    case = workload("fatal:Late")
    late = kernels.find("fatal:Late")
    for seq_len, status, words, max_seconds in (
        (200, "error", "SystemExit: 3", SECONDS),
        (300, "error", "killed by SIGKILL", SECONDS),
        (150, "timeout", "took more than 1 s", 1.0),
    ):
        proxies.max_seconds = max_seconds
        with pytest.raises(FailedError, match=words) as raised:
            late.executed_macs(case.at(seq_len))
        assert raised.value.status == status
    proxies.max_seconds = SECONDS
    assert late.executed_macs(case.at(100)) == 100 * 64 * 64


def test_results_are_cached(proxies: custom.TargetProxies, monkeypatch: pytest.MonkeyPatch) -> None:
    case = workload("mixers:Dense")
    kernel = kernels.find("mixers:Dense")
    first = kernel.executed_macs(case)
    kernel.close()  # type: ignore[union-attr]

    def fails() -> None:
        raise AssertionError("another process was started")

    monkeypatch.setattr(proxies.workers, "worker", fails)
    assert kernel.executed_macs(case) == first
