"""Results whose predicted peaks are the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from attnprof.core.cpu import computing_with


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Fused attention on a CPU has a buffer for each thread."""
    with computing_with(2):
        yield
