"""A fixture of all built-in kernels."""

from __future__ import annotations

import pytest

from attnprof import kernels


@pytest.fixture(params=kernels.names())
def kernel(request: pytest.FixtureRequest) -> kernels.Kernel:
    return kernels.find(request.param)
