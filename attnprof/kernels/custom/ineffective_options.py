"""Which options change nothing about something of the user's own, to be said in its row."""

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
"""What of a workload the sizes in descriptions of inputs depend on."""

_OPTIONS = {
    "seq_len": "--len",
    "batch_size": "--batch-size",
    "hidden_size": "--hidden-size",
    "num_heads": "--num-heads",
}
_USUAL = {"batch_size": 1, "hidden_size": 768, "num_heads": 12}
"""Values that nobody has to have asked for."""


def sizes_of(names: Iterable[str]) -> set[str]:
    """What of a workload a factory depends on that takes sizes of it."""
    taken = set(names)
    return taken | ({"hidden_size", "num_heads"} if "head_dim" in taken else set())


def no_effect(workload: Workload, taken: set[str], specs: list[InputSpec] | None) -> str:
    """Which options change nothing, and why; empty where each does something.

    Args:
        workload: as the options have it.
        taken: what of it the constructor or the factory takes.
        specs: of the inputs; None where the factory makes them itself. The width and the heads of
            a module are its own business: of these only the batch is told.
    """
    if specs is None:
        told, reason = list(_OPTIONS), "its factory makes the inputs itself, and takes no such size"
    else:
        told, reason = ["batch_size"], "none of its inputs is described by batch"
        words = {d.size for spec in specs for d in spec.dimensions if isinstance(d.size, str)}
        taken = taken.union(*(_SIZES[word] for word in words))
    idle = [
        f"{_OPTIONS[size]} {getattr(workload, size)}"
        for size in told
        if size not in taken and getattr(workload, size) != _USUAL.get(size)
    ]
    if not idle:
        return ""
    return f"no effect on it: {', '.join(idle)} ({reason})"
