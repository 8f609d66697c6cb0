"""A pull request and a machine to run its workflow on."""

from __future__ import annotations

from pathlib import Path

import pytest
from pull_request import PullRequest, Repository


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("origin"))


@pytest.fixture
def pull_request(tmp_path: Path, origin: Repository) -> PullRequest:
    return PullRequest(tmp_path, origin)
