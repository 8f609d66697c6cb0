"""Which options have no effect on a custom kernel, for a note in its row."""

from __future__ import annotations

from collections.abc import Iterable

from attnprof.core.workload import Workload
from attnprof.kernels.custom.inputs import InputSpec

_SIZES = {
    "batch": ("batch_size",),
    "len": ("seq_len",),
    "hidden": ("hidden_size",),
    "heads": ("num_heads",),
    "head_dim": ("hidden_size", "num_heads"),
}
"""Attributes of the workload that a size in a description of inputs depends on."""

_OPTIONS = {
    "seq_len": "--len",
    "batch_size": "--batch-size",
    "hidden_size": "--hidden-size",
    "num_heads": "--num-heads",
}
_DEFAULTS = {"batch_size": 1, "hidden_size": 768, "num_heads": 12}
"""Values that the user need not have passed."""


def dependencies_of(names: Iterable[str]) -> set[str]:
    """Attributes of the workload that a factory depends on which takes sizes of these names."""
    sizes = set(names)
    return sizes | {"hidden_size", "num_heads"} if "head_dim" in sizes else sizes


def no_effect(workload: Workload, used: set[str], specs: list[InputSpec] | None) -> str:
    """Which options have no effect, and why; empty where each has one.

    Args:
        workload: as the options describe it.
        used: its attributes that the constructor or the factory uses.
        specs: descriptions of the inputs, or None where the factory makes them itself. Where they
            are described, only the batch size is reported: a module may fix its width and heads.
    """
    if specs is None:
        reported = list(_OPTIONS)
        reason = "its factory makes its own inputs and takes no such size"
    else:
        reported, reason = ["batch_size"], "none of its inputs is described with batch"
        words = {d.size for spec in specs for d in spec.dimensions if isinstance(d.size, str)}
        used = used.union(*(_SIZES[word] for word in words))
    ineffective = [
        f"{_OPTIONS[size]} {getattr(workload, size)}"
        for size in reported
        if size not in used and getattr(workload, size) != _DEFAULTS.get(size)
    ]
    if not ineffective:
        return ""
    return f"no effect: {', '.join(ineffective)} ({reason})"
