"""One module for each implementation that can be built, counted and timed.

A module whose name does not begin with `_` is a kernel: `bert_sdpa.py` is `bert-sdpa`. It has the
attributes of `Kernel` and imports torch and transformers only inside `build`, so that closed forms
and lists need neither. The loader imports the module that is asked for and no other.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Literal, Protocol, cast

from attnprof.core.errors import UsageError, suggest
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels import builtin, custom


class Kernel(Protocol):
    """What a kernel module has. Costs are those of one call of the whole workload."""

    name: str
    summary: str
    pattern_support: Literal["dense", "pattern", "custom"]
    """Whether it computes dense attention whatever the pattern, or the pattern, or is the user's
    own: it attends as it does, and what it needs of that is not known."""
    ptflops_misses: str
    """The operation in which ptflops' default backend sees no MACs; empty where it sees all."""

    needs_compilation: bool
    """Whether its first call compiles it; that time is told apart."""

    has_float32_softmax: bool
    """Whether it computes softmax in float32 where all else is in float64."""

    def unsupported_reason(self, workload: Workload) -> str | None:
        """Why it cannot take the workload, None if it can."""
        ...

    def build(self, workload: Workload) -> Call:
        """A fresh module with seeded random weights, and seeded random inputs."""
        ...

    def padding_multiple(self, workload: Workload) -> int:
        """It pads lengths to multiples of this many tokens; 1 where it pads none."""
        ...

    def parameters(self, workload: Workload) -> int:
        """Parameters of the module."""
        ...

    def executed_macs(self, workload: Workload) -> int:
        """MACs that it multiplies, in closed form: equal to an operator-level count of a run."""
        ...

    def peak_bytes(self, workload: Workload) -> int:
        """The most bytes that a call allocates at one time, in closed form."""
        ...

    def static_bytes(self, workload: Workload) -> int:
        """Bytes of parameters and inputs, which live outside the call."""
        ...


@cache
def names() -> tuple[str, ...]:
    """The kernels there are, by the names of their files; none of them is imported."""
    modules = (module.name for module in pkgutil.iter_modules(builtin.__path__))
    return tuple(name.replace("_", "-") for name in modules if not name.startswith("_"))


def is_custom(name: str) -> bool:
    """Whether the name is that of something of the user's own, as `pkg.mod:Net`."""
    return name not in names() and custom.is_reference(name)


def find(name: str) -> Kernel:
    """The kernel of that name, or what of the user's own it refers to.

    Raises:
        UsageError: when there is none; says what is near.
    """
    if is_custom(name):
        return custom.find(name)
    if name not in names():
        raise UsageError("kernel", name, f"unknown; {suggest(name, names())}")
    return _built_in(name)


@cache
def _built_in(name: str) -> Kernel:
    return cast("Kernel", importlib.import_module(f"{builtin.__name__}.{name.replace('-', '_')}"))


def moved_bytes(kernel: Kernel, workload: Workload) -> int:
    """Bytes that a call moves at the least.

    What is held is read; what it allocates at its peak is written and read.
    """
    return kernel.static_bytes(workload) + 2 * kernel.peak_bytes(workload)


def padded_seq_len(kernel: Kernel, workload: Workload) -> int:
    """The length that a kernel computes, in tokens."""
    step = kernel.padding_multiple(workload)
    return -(-workload.seq_len // step) * step
