"""Settings and fixtures that all tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from guard_project import Project
from hypothesis import settings
from workloads import WORKLOADS, describe

from attnprof import Workload
from attnprof.isolation.fork_server import ForkServer
from attnprof.isolation.workers import Workers
from attnprof.measure.disturbance import RoundLog

pytest_plugins = ["pytester"]

# torch's cache of compiled kernels mixes up those of different instruction sets: what was compiled
# under one ATEN_CPU_CAPABILITY gives zeros under another.
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR",
    str(
        Path(tempfile.gettempdir())
        / f"attnprof_tests_{os.environ.get('ATEN_CPU_CAPABILITY', 'native')}_{os.getuid()}"
    ),
)

# One compiles as fast on two cores that tests share, without processes that import torch first.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

settings.register_profile("attnprof", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("attnprof")


@pytest.fixture(params=WORKLOADS, ids=describe)
def workload(request: pytest.FixtureRequest) -> Workload:
    return request.param


@pytest.fixture(scope="session")
def guard_workers() -> Iterator[Workers]:
    """Processes that contracts are measured in; torch is imported for them once."""
    modules = [
        "torch",
        "torch._dynamo",
        "attnprof.counting.call_profile",
        "attnprof.kernels.custom.python_object",
    ]
    modules += ["attnprof.kernels.custom.hf_config", "transformers.models.bert.modeling_bert"]
    with ForkServer(modules, is_limited=True) as server:
        yield server


@pytest.fixture
def project(tmp_path: Path, guard_workers: Workers) -> Project:
    return Project(tmp_path, guard_workers)


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing else ever disturbs a round, for what follows from times."""
    monkeypatch.setattr(RoundLog, "_limit", lambda log: float("inf"))
    monkeypatch.setattr(RoundLog, "_is_bad", lambda log, before, after: False)
