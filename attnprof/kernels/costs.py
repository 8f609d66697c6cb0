"""What is known of a kernel without running it."""

from __future__ import annotations

from typing import Literal, Protocol

from attnprof.core.workload import Workload


class KernelCosts(Protocol):
    """The part of `Kernel` that findings need; a kernel of saved results has no other."""

    @property
    def pattern_support(self) -> Literal["dense", "pattern", "custom"]:
        """Whether it computes dense attention, the workload's pattern, or user code."""
        ...

    @property
    def ptflops_misses(self) -> str:
        """The operation whose MACs ptflops' default backend misses."""
        ...

    def padding_multiple(self, workload: Workload) -> int:
        """Lengths are padded to a multiple of this many tokens."""
        ...

    def executed_macs(self, workload: Workload) -> int:
        """Executed MACs of one call."""
        ...

    def peak_bytes(self, workload: Workload) -> int:
        """The most bytes that a call allocates at one time."""
        ...

    def static_bytes(self, workload: Workload) -> int:
        """Bytes of parameters and inputs."""
        ...
