"""Built-in kernels whose costs are known only where a mask function has been evaluated."""

from __future__ import annotations

from functools import cache

from attnprof import kernels
from attnprof.core.errors import MeasurementError
from attnprof.core.mask_pattern import mask_layers
from attnprof.core.workload import Workload
from attnprof.kernels import BuiltInKernel
from attnprof.kernels.custom.target import Work

_MOST_PAIRS = 2**26
"""Pairs that are evaluated for one length beyond those of a table: 8,192 tokens."""

_ALL_PAIRS = 2**29
"""Pairs that are evaluated for all lengths of a series."""


class MaskedKernel:
    """The costs of a built-in kernel on a mask function, as those of a kernel that is counted.

    Args:
        kernel: built in.
    """

    def __init__(self, kernel: BuiltInKernel) -> None:
        self._kernel = kernel

    def unsupported_reason(self, workload: Workload) -> str | None:
        """None: without evaluating the mask it is not known."""
        return None

    def executed_macs(self, workload: Workload) -> int:
        """MACs of one call.

        Raises:
            MeasurementError: where the kernel cannot run, or saved results lack the length.
        """
        reason = self._kernel.unsupported_reason(workload)
        if reason is not None:
            raise MeasurementError(reason)
        return self._kernel.executed_macs(workload)

    def peak_bytes(self, workload: Workload) -> int:
        """The most bytes that a call allocates at one time."""
        return self._kernel.peak_bytes(workload)

    def work_of_counting(self, workload: Workload) -> Work:
        """The pairs that are evaluated, as operators."""
        layers = dict.fromkeys(mask_layers(workload.pattern))
        heads = sum(layer.num_heads if layer.depends_on_head else 1 for layer in layers)
        return Work(heads * workload.seq_len**2, 0.0, is_real=False)

    def is_in_reach(self, workload: Workload, spent: int) -> bool:
        """Whether a length may be evaluated.

        Args:
            workload: the call at that length.
            spent: pairs that were evaluated at other lengths.
        """
        pairs = self.work_of_counting(workload).operators
        return pairs <= _MOST_PAIRS and spent + pairs <= _ALL_PAIRS


@cache
def masked_kernel(name: str) -> MaskedKernel:
    """The kernel of a name, one for each, so that what follows is cached too."""
    return MaskedKernel(kernels.find_built_in(name))
