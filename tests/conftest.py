"""Settings and fixtures that all tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings
from shapes import WORKLOADS, describe

from attnprof import Workload

settings.register_profile("attnprof", deadline=None, derandomize=True, max_examples=150)
settings.load_profile("attnprof")


@pytest.fixture(params=WORKLOADS, ids=describe)
def workload(request: pytest.FixtureRequest) -> Workload:
    return request.param
