"""What ended its process when it was imported: each of its rows says so, and the others go on."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NoReturn

from attnprof.core.errors import FailedError
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload


class FailedTarget:
    """A kernel of the user's own that cannot be asked anything.

    Args:
        name: how the user names it.
        failure: how its import ended.

    Attributes:
        failure: as given.
    """

    pattern_support: Literal["dense", "pattern", "custom"] = "custom"
    ptflops_misses: str = ""
    needs_compilation: bool = False
    has_float32_softmax: bool = False

    def __init__(self, name: str, failure: FailedError) -> None:
        self.name: str = name
        self.summary: str = name
        self.failure = failure

    def adapt_workload(self, workload: Workload) -> Workload:
        """The workload that its row tells of."""
        pattern = AttentionPattern.dense(workload.num_heads)
        return replace(workload, pattern=pattern, scope="attention")

    def check(self, workload: Workload) -> None:
        """Its rows tell what is wrong."""

    def notes(self, workload: Workload) -> tuple[str, ...]:
        """Nothing but how its import ended, which its row says."""
        return ()

    def source_digest(self) -> str:
        """Empty: its file is not known."""
        return ""

    def padding_multiple(self, workload: Workload) -> int:
        """Pads nothing."""
        return 1

    def _fail(self, workload: Workload) -> NoReturn:
        """Tell how its import ended.

        Raises:
            FailedError: always.
        """
        raise FailedError(f"{self.failure} when it was imported", self.failure.status)

    unsupported_reason = build = parameters = static_bytes = executed_macs = peak_bytes = _fail
    work_of_counting = _fail
