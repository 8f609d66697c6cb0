"""Peak bytes of the tensors of a call, followed operator by operator, on fake tensors as well."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from attnprof.core.errors import MeasurementError
from attnprof.core.units import format_bytes
from attnprof.core.workload import dtype_name
from attnprof.counting.buffers.bounds import InnerBytes
from attnprof.counting.buffers.lookup import inner_bytes
from attnprof.counting.decompositions import decomposed
from attnprof.counting.tensor_subclasses import is_made_of_plain_tensors

_aten = torch.ops.aten
_WRITES_INTO_ZEROS = (_aten.index_put, _aten.scatter, _aten.scatter_add, _aten.index_add)
"""What autograd calls to write the gradient of a selected part into a tensor of zeros."""

_TOLERANCE = 1.01
"""A peak is reported if what it may be is at most this factor above what is certain."""


def peak_bytes(run: Callable[[], object]) -> int:
    """Peak bytes of one call: storages that it allocates, above what was live before.

    The output counts, the inputs do not. Memory that operators allocate inside, in no tensor, is
    added by the formulas of `attnprof.counting.buffers`.

    Raises:
        MeasurementError: if memory inside an operator is not known and may change the peak.
    """
    with torch.compiler.set_stance("force_eager"), StorageTracker() as storages:
        output = run()
    del output
    if storages.unknown_peak:
        raise MeasurementError(storages.unknown_peak)
    return storages.peak


class StorageTracker(TorchDispatchMode):
    """Tracks each storage that an operator allocates until it is freed.

    Attributes:
        peak: the most bytes at one time that are certain.
        peak_by_origin: the parts of `peak` by origin and dtype; empty without `origin`.
        possible_peak: the most bytes that are possible, where buffers are only known within bounds.
        possible_at: the operator at which `possible_peak` is reached.
        unknown: operators whose buffers have no bounds.

    Args:
        origin: names where an operator runs.
    """

    supports_higher_order_operators = True

    def __init__(self, origin: Callable[[Any], str] | None = None) -> None:
        super().__init__()
        self.peak = 0
        self.peak_by_origin: dict[str, int] = {}
        self.possible_peak = 0
        self.possible_at = ""
        self.unknown: set[str] = set()
        self._origin = origin
        self._live_by_origin: Counter[str] = Counter()
        self._live = 0
        self._tracked: dict[int, weakref.finalize[Any, Any]] = {}
        self._new_tensors: Any = WeakIdKeyDictionary()

    @property
    def unknown_peak(self) -> str:
        """Why the peak is not known; empty if it is."""
        if self.unknown:
            return f"memory allocated inside {', '.join(sorted(self.unknown))} is not known"
        if self.possible_peak > _TOLERANCE * self.peak:
            return (
                f"memory allocated inside {self.possible_at} is not known exactly: the peak is "
                f"between {format_bytes(self.peak)} and {format_bytes(self.possible_peak)}"
            )
        return ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if is_made_of_plain_tensors(types):
            return NotImplemented
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                self._track_existing(leaf.untyped_storage())
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and self._track_new(leaf, func):
                self._new_tensors[leaf] = True
        self._update_peak(func, self._inner_bytes(func, args, kwargs or {}, result))
        return result

    def _inner_bytes(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> InnerBytes:
        """Bytes that an operator allocates inside, beside its result."""
        run_decomposed = decomposed(func, args, kwargs)
        if run_decomposed is not None:
            with StorageTracker() as tracker:
                output = run_decomposed()
            outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            returned = sum(leaf.untyped_storage().nbytes() for leaf in outputs)
            return InnerBytes(tracker.peak - returned, tracker.peak - returned)
        inside = inner_bytes(func, args, kwargs, result)
        if _is_backward_pass() and self._is_normally_in_place(func, args):
            not_allocated = result.untyped_storage().nbytes()
            at_most = None if inside.at_most is None else inside.at_most - not_allocated
            return InnerBytes(inside.bytes - not_allocated, at_most)
        return inside

    def _update_peak(self, func: Any, inside: InnerBytes) -> None:
        """Raise the peaks if live storages and what the operator allocates inside exceed them."""
        if inside.at_most is None:
            self.unknown.add(_name(func))
        elif self._live + inside.at_most > self.possible_peak:
            self.possible_peak, self.possible_at = self._live + inside.at_most, _name(func)
        if self._live + inside.bytes <= self.peak:
            return
        self.peak = self._live + inside.bytes
        if self._origin is not None:
            self.peak_by_origin = dict(self._live_by_origin)
            if inside.bytes:
                name = f"{self._origin(func)} buffers"
                self.peak_by_origin[name] = self.peak_by_origin.get(name, 0) + inside.bytes

    def _is_normally_in_place(self, func: Any, args: tuple[Any, ...]) -> bool:
        """Whether autograd allocates here only because tensors are fake or a mode is active.

        Normally it works in place where nothing else refers to the memory: it writes the gradient
        of an index into zeros, and adds a second gradient of a tensor to the first. The memory of a
        view is also referred to by its base.
        """
        if getattr(func, "overloadpacket", None) in _WRITES_INTO_ZEROS:
            return True
        return func is _aten.add.Tensor and args[0] in self._new_tensors

    def _track_existing(self, storage: torch.UntypedStorage) -> None:
        """Track an input's storage with no bytes if it is not one that the call allocated."""
        if not self._is_tracked(storage):
            self._tracked[id(storage)] = weakref.finalize(storage, int)

    def _track_new(self, tensor: Tensor, func: Any) -> bool:
        """Track the storage of a result if it is new; whether it is."""
        storage = tensor.untyped_storage()
        if self._is_tracked(storage):
            return False
        size = storage.nbytes()
        origin = "" if self._origin is None else f"{self._origin(func)} {dtype_name(tensor)}"
        self._live += size
        self._live_by_origin[origin] += size
        self._tracked[id(storage)] = weakref.finalize(storage, self._free, size, origin)
        return True

    def _is_tracked(self, storage: torch.UntypedStorage) -> bool:
        """Whether this storage is tracked, and not one that was freed and had the same id."""
        finalizer = self._tracked.get(id(storage))
        return finalizer is not None and finalizer.alive

    def _free(self, size: int, origin: str) -> None:
        self._live -= size
        self._live_by_origin[origin] -= size


def _name(func: Any) -> str:
    return str(getattr(func, "overloadpacket", func))


def _is_backward_pass() -> bool:
    return torch._C._current_graph_task_id() != -1
