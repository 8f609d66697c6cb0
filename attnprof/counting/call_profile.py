"""MACs and peak memory of a call, measured in one run, with the origin of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from attnprof.counting.allocations import StorageTracker
from attnprof.counting.operator_counts import OperatorCounts, intercept_operators, operator_name
from attnprof.counting.tensor_subclasses import is_made_of_plain_tensors


@dataclass(frozen=True, slots=True)
class CallProfile:
    """Operators and peak memory of one call.

    Attributes:
        counts: its operators, by module.
        peak_bytes: the most bytes that its tensors take at one time.
        output_bytes: bytes of the tensor that it returns.
        bytes_by_origin: the parts of `peak_bytes`, by `module_path operator dtype`.
        unknown_inside: operators whose inner allocations are not known.
        unknown_peak: why the peak is not known to within 1 %; empty if it is.
    """

    counts: OperatorCounts
    peak_bytes: int
    output_bytes: int
    bytes_by_origin: dict[str, int]
    unknown_inside: frozenset[str] = frozenset()
    unknown_peak: str = ""


class OperatorCounter(TorchDispatchMode):
    """Counts the operators that run inside, to estimate how long more of them would take."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if is_made_of_plain_tensors(types):
            return NotImplemented
        self.calls += 1
        return func(*args, **(kwargs or {}))


def profile_call(run: Callable[[], torch.Tensor]) -> CallProfile:
    """Count the operators of a call and track its storages, in one run."""
    counts = OperatorCounts()
    module_path: Callable[[], str] = str

    def origin(func: Any) -> str:
        return f"{module_path()} {operator_name(func)}"

    storages = StorageTracker(origin)
    with storages, intercept_operators(counts.add) as running_module_path:
        module_path = running_module_path
        output = run()
    output_bytes = output.nbytes
    del output
    parts = {name.strip(): size for name, size in storages.peak_by_origin.items() if size}
    return CallProfile(
        counts,
        storages.peak,
        output_bytes,
        parts,
        frozenset(storages.unknown),
        storages.unknown_peak,
    )
