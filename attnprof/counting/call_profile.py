"""MACs and peak memory of one call in one run, each with where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from attnprof.counting.allocations import StorageTracker
from attnprof.counting.operator_counts import OperatorCounts, intercept_operators, operator_name
from attnprof.counting.tensor_subclasses import is_made_of_plain_tensors


@dataclass(frozen=True, slots=True)
class CallProfile:
    """What one call computes and holds.

    Attributes:
        counts: its operators, by module.
        peak_bytes: the most that its tensors take at one time.
        bytes_by_origin: what these bytes are, by `place operator dtype`; together the peak.
        unknown_inside: operators of which it is not known what they allocate inside.
        unknown_peak: why the peak is not known to 1 %, in words; empty where it is.
    """

    counts: OperatorCounts
    peak_bytes: int
    bytes_by_origin: dict[str, int]
    unknown_inside: frozenset[str] = frozenset()
    unknown_peak: str = ""


class OperatorCounter(TorchDispatchMode):
    """How many operators run inside, to tell how long more of the same would take."""

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


def profile_call(run: Callable[[], object]) -> CallProfile:
    """Count the operators of a call and follow its storages, in one run."""
    counts = OperatorCounts()
    places: list[Callable[[], str]] = []

    def origin(func: Any) -> str:
        return f"{places[0]()} {operator_name(func)}"

    storages = StorageTracker(origin)
    with storages, intercept_operators(counts.add) as place:
        places.append(place)
        output = run()
    del output
    parts = {name.strip(): size for name, size in storages.peak_by_origin.items() if size}
    return CallProfile(
        counts, storages.peak, parts, frozenset(storages.unknown), storages.unknown_peak
    )
