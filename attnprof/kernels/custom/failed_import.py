"""A custom kernel that ended its process when it was imported; other kernels are still measured."""

from __future__ import annotations

from typing import NoReturn

from attnprof.core.errors import FailedError
from attnprof.core.workload import Workload
from attnprof.kernels.custom.traits import CustomKernelTraits


class FailedTarget(CustomKernelTraits):
    """A custom kernel that could not be imported: all its costs raise, so that its rows say why.

    Args:
        name: its reference.
        failure: how its import ended.

    Attributes:
        failure: as passed.
    """

    def __init__(self, name: str, failure: FailedError) -> None:
        self.name: str = name
        self.summary: str = name
        self.failure = failure

    def check(self, workload: Workload) -> None:
        """Does nothing: its rows say what is wrong."""

    def notes(self, workload: Workload) -> tuple[str, ...]:
        """Empty: its rows say how the import ended."""
        return ()

    def source_digest(self) -> str:
        """Empty: its file is not known."""
        return ""

    def _fail(self, workload: Workload) -> NoReturn:
        """Raise how its import ended.

        Raises:
            FailedError: always.
        """
        raise FailedError(f"{self.failure} when it was imported", self.failure.status)

    unsupported_reason = build = parameters = static_bytes = executed_macs = peak_bytes = _fail
    useful_macs = hidden_macs = macs_by_operator = work_of_counting = _fail
    cache_bytes = min_bytes = _fail
