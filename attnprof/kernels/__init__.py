"""Kernels: attention implementations that can be built, counted and timed.

A module of `builtin/` whose name does not begin with `_` is a kernel: `bert_sdpa.py` is
`bert-sdpa`. It has the attributes of `Kernel` and imports torch and transformers only inside
`build`, so that closed forms and lists need neither. Only the requested module is imported.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from typing import Literal, Protocol, cast

from attnprof.core.blocks import ComputedBlocks
from attnprof.core.discovery import module_names
from attnprof.core.errors import UsageError, suggest
from attnprof.core.mac_parts import MacParts, sum_terms
from attnprof.core.mac_terms import MacTerm
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels import builtin, custom
from attnprof.kernels.costs import KernelCosts


class Kernel(Protocol):
    """The attributes of a kernel module. Costs are those of one call with the workload."""

    name: str
    summary: str
    source: str
    """Where the formulas of its MACs come from: what is executed there."""

    pattern_support: Literal["dense", "pattern", "custom"]
    """Whether it computes dense attention, the workload's pattern, or user code whose pattern is
    not known."""
    ptflops_misses: str
    """The operation whose MACs ptflops' default backend misses; empty where it counts all."""

    needs_compilation: bool
    """Whether its first call compiles it; that time is reported separately."""

    has_float32_softmax: bool
    """Whether it computes softmax in float32 even in a float64 workload."""

    def unsupported_reason(self, workload: Workload) -> str | None:
        """Why it cannot run the workload, None if it can."""
        ...

    def build(self, workload: Workload) -> Call:
        """A new module with seeded random weights, and seeded random inputs."""
        ...

    def padding_multiple(self, workload: Workload) -> int:
        """Lengths are padded to a multiple of this many tokens; 1 where nothing is padded."""
        ...

    def parameters(self, workload: Workload) -> int:
        """Number of parameters of the module."""
        ...

    def mac_terms(self, workload: Workload) -> Sequence[MacTerm]:
        """The closed form of its executed MACs, term by term; empty where they are counted."""
        ...

    def executed_macs(self, workload: Workload) -> int:
        """Executed MACs: equal to an operator-level count of a run, and to the sum of the terms."""
        ...

    def peak_bytes(self, workload: Workload) -> int:
        """The most bytes that a call allocates at one time, in closed form."""
        ...

    def static_bytes(self, workload: Workload) -> int:
        """Bytes of parameters and inputs, which are allocated before the call."""
        ...


class BuiltInKernel(Kernel, Protocol):
    """A kernel of this package, of which it is known which pairs it computes."""

    def blocks(
        self, workload: Workload, layer: AttentionPattern, head: int
    ) -> tuple[ComputedBlocks, ...]:
        """The blocks of pairs that one head of a layer computes in one sequence.

        With the products of weights they are all executed MACs; they cover every attended pair.
        """
        ...


class DecodingKernel(BuiltInKernel, Protocol):
    """A kernel of this package that supports workloads of mode `decode`."""

    def cache_bytes(self, workload: Workload) -> int:
        """Bytes that its cache has allocated after a call that decodes."""
        ...


@cache
def names() -> tuple[str, ...]:
    """Names of the built-in kernels, from the names of their files; none of them is imported."""
    return tuple(name.replace("_", "-") for name in module_names(builtin.__path__))


def is_custom(name: str) -> bool:
    """Whether the name refers to a custom kernel, such as `pkg.mod:Net`."""
    return name not in names() and custom.is_reference(name)


def find(name: str) -> Kernel:
    """The built-in kernel of that name, or the custom kernel that it refers to.

    Raises:
        UsageError: when there is none; suggests a similar name.
    """
    if is_custom(name):
        return custom.find(name)
    return find_built_in(name)


def find_built_in(name: str) -> BuiltInKernel:
    """The built-in kernel of that name.

    Raises:
        UsageError: when there is none; suggests a similar name.
    """
    if name not in names():
        known = (*names(), *custom.PUBLISHED)
        raise UsageError("kernel", name, f"unknown; {suggest(name, known)}")
    return _built_in(name)


def find_decoding(name: str) -> DecodingKernel:
    """The built-in kernel of that name, which supports a workload of mode `decode`.

    Raises:
        UsageError: when there is none; suggests a similar name.
    """
    return cast("DecodingKernel", find_built_in(name))


def mac_parts(name: str, workload: Workload) -> MacParts | None:
    """Executed MACs of a kernel by part; None for custom kernels, whose parts are not known.

    Raises:
        UsageError: when there is no such kernel.
    """
    return None if is_custom(name) else sum_terms(find(name).mac_terms(workload))


@cache
def _built_in(name: str) -> BuiltInKernel:
    return cast(
        "BuiltInKernel", importlib.import_module(f"{builtin.__name__}.{name.replace('-', '_')}")
    )


def moved_bytes(kernel: KernelCosts, workload: Workload) -> int:
    """A lower bound of the bytes that a call moves.

    Parameters and inputs are read once; what it allocates at its peak is written and read.
    """
    return kernel.static_bytes(workload) + 2 * kernel.peak_bytes(workload)


def padded_seq_len(kernel: KernelCosts, workload: Workload) -> int:
    """The length that a kernel computes, padding included, in tokens."""
    multiple = kernel.padding_multiple(workload)
    return -(-workload.seq_len // multiple) * multiple
