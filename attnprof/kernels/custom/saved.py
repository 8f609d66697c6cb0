"""Custom kernels of saved results: their costs are known at some lengths, their code is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from attnprof.core.errors import MeasurementError
from attnprof.core.saved_costs import SavedCosts
from attnprof.core.workload import Workload
from attnprof.kernels.custom.target import Work
from attnprof.kernels.custom.traits import CustomKernelTraits

if TYPE_CHECKING:
    from attnprof.kernels.custom.lookup import CustomKernel

_T = TypeVar("_T")


class SavedKernel(CustomKernelTraits):
    """The costs of a custom kernel from saved results.

    Args:
        name: its reference, in the process that measured it.
        costs: what is known of it.

    Attributes:
        costs: as passed.
    """

    def __init__(self, name: str, costs: SavedCosts) -> None:
        self.name: str = name
        self.costs = costs

    def unsupported_reason(self, workload: Workload) -> str | None:
        """None: what could not run has a row that says so."""
        return None

    def executed_macs(self, workload: Workload) -> int:
        """The saved MACs.

        Raises:
            MeasurementError: for a length at which none were saved.
        """
        return _saved(self.costs.executed_macs, workload)

    def peak_bytes(self, workload: Workload) -> int:
        """The saved peak.

        Raises:
            MeasurementError: for a length at which none was saved.
        """
        return _saved(self.costs.peak_bytes, workload)

    def static_bytes(self, workload: Workload) -> int:
        """The saved bytes of parameters and inputs.

        Raises:
            MeasurementError: for a length at which none were saved.
        """
        return _saved(self.costs.static_bytes, workload)

    def macs_by_operator(self, workload: Workload) -> Mapping[str, int]:
        """The saved MACs by operator.

        Raises:
            MeasurementError: for a length at which none were saved.
        """
        return _saved(self.costs.operator_macs, workload)

    def work_of_counting(self, workload: Workload) -> Work:
        """The saved number of operators, in no time.

        Raises:
            MeasurementError: for a length at which none was saved.
        """
        return Work(_saved(self.costs.operators, workload), 0.0, is_real=False)


class RecordedKernel(CustomKernelTraits):
    """The costs of a custom kernel, of which each answer is recorded.

    Args:
        kernel: what answers.
    """

    def __init__(self, kernel: CustomKernel) -> None:
        self._kernel = kernel
        self._answers: dict[str, dict[int, Any]] = {}

    def unsupported_reason(self, workload: Workload) -> str | None:
        """Why it cannot run the workload, None if it can."""
        return self._kernel.unsupported_reason(workload)

    def executed_macs(self, workload: Workload) -> int:
        """MACs of one call."""
        return self._record("executed_macs", self._kernel.executed_macs, workload)

    def peak_bytes(self, workload: Workload) -> int:
        """The most bytes that a call allocates at one time."""
        return self._record("peak_bytes", self._kernel.peak_bytes, workload)

    def static_bytes(self, workload: Workload) -> int:
        """Bytes of parameters and inputs."""
        return self._record("static_bytes", self._kernel.static_bytes, workload)

    def macs_by_operator(self, workload: Workload) -> Mapping[str, int]:
        """MACs of one call by operator."""
        return self._record("operator_macs", self._kernel.macs_by_operator, workload)

    def work_of_counting(self, workload: Workload) -> Work:
        """What counting its MACs takes."""
        work = self._kernel.work_of_counting(workload)
        self._record("operators", lambda workload: work.operators, workload)
        return work

    @property
    def costs(self) -> SavedCosts:
        """What it answered so far."""
        return SavedCosts(**self._answers)

    def _record(self, name: str, ask: Callable[[Workload], _T], workload: Workload) -> _T:
        answer = ask(workload)
        self._answers.setdefault(name, {})[workload.seq_len] = answer
        return answer


@cache
def saved_kernel(name: str, costs: SavedCosts) -> SavedKernel:
    """The kernel of these costs, one for each `SavedCosts`, so that what follows is cached too."""
    return SavedKernel(name, costs)


def _saved(costs: Mapping[int, _T], workload: Workload) -> _T:
    cost = costs.get(workload.seq_len)
    if cost is None:
        raise MeasurementError(f"not known at {workload.seq_len:,} tokens from saved results")
    return cost
