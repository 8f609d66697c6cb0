"""The most bytes that the tensors of a call take at one time, on real tensors or on fake ones."""

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
from attnprof.counting.buffers.lookup import inside
from attnprof.counting.decompositions import written_out
from attnprof.counting.tensor_subclasses import is_made_of_plain_tensors

_aten = torch.ops.aten
_INTO_ZEROS = (_aten.index_put, _aten.scatter, _aten.scatter_add, _aten.index_add)
"""What autograd calls to write the gradient of what was taken out of a tensor."""
_TOLERANCE = 1.01
"""A peak that is known but for a part below this is told."""


def peak_bytes(run: Callable[[], object]) -> int:
    """The peak of one call: storages that it allocates, above what was live before it.

    The output counts, the inputs do not. What an operator allocates inside, which no tensor holds,
    is added as `attnprof.counting.buffers.lookup` knows it.

    Raises:
        MeasurementError: when what an operator allocates inside is not known and may be the peak.
    """
    with torch.compiler.set_stance("force_eager"), StorageTracker() as storages:
        output = run()
    del output
    if storages.unknown_peak:
        raise MeasurementError(storages.unknown_peak)
    return storages.peak


class StorageTracker(TorchDispatchMode):
    """Follows each storage that an operator makes until nothing holds it.

    Attributes:
        peak: the most bytes at one time that are certain.
        peak_by_origin: what they are, where origins are told.
        possible_peak: the most bytes that there may be, where buffers have bounds only.
        possible_at: the operator that may take them.
        unknown: operators whose buffers nothing bounds.

    Args:
        origin: names where an operator runs; then the peak is told by origin and dtype, too.
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
        self._known: dict[int, weakref.finalize[Any, Any]] = {}
        self._fresh: Any = WeakIdKeyDictionary()

    @property
    def unknown_peak(self) -> str:
        """Why the peak is not known, in words; empty where it is."""
        if self.unknown:
            return f"what {', '.join(sorted(self.unknown))} allocates inside is not known"
        if self.possible_peak > _TOLERANCE * self.peak:
            return (
                f"what {self.possible_at} allocates inside is not known exactly: the peak is "
                f"{format_bytes(self.peak)} to {format_bytes(self.possible_peak)}"
            )
        return ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if is_made_of_plain_tensors(types):
            return NotImplemented
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                self._take_in(leaf.untyped_storage())
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and self._follow(leaf, func):
                self._fresh[leaf] = True
        self._rise(func, self._inside(func, args, kwargs or {}, result))
        return result

    def _inside(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> InnerBytes:
        whole = written_out(func, args, kwargs)
        if whole is not None:
            with StorageTracker() as within:
                output = whole()
            outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            returned = sum(leaf.untyped_storage().nbytes() for leaf in outputs)
            return InnerBytes(within.peak - returned, within.peak - returned)
        found = inside(func, args, kwargs, result)
        if _goes_backward() and self._is_in_place_for_real(func, args):
            spared = result.untyped_storage().nbytes()
            most = None if found.at_most is None else found.at_most - spared
            return InnerBytes(found.bytes - spared, most)
        return found

    def _rise(self, func: Any, found: InnerBytes) -> None:
        """Takes note of a new peak: what lives now, and what the operator takes inside."""
        if found.at_most is None:
            self.unknown.add(_name(func))
        elif self._live + found.at_most > self.possible_peak:
            self.possible_peak, self.possible_at = self._live + found.at_most, _name(func)
        if self._live + found.bytes <= self.peak:
            return
        self.peak = self._live + found.bytes
        if self._origin is not None:
            self.peak_by_origin = dict(self._live_by_origin)
            if found.bytes:
                name = f"{self._origin(func)} buffers"
                self.peak_by_origin[name] = self.peak_by_origin.get(name, 0) + found.bytes

    def _is_in_place_for_real(self, func: Any, args: tuple[Any, ...]) -> bool:
        """Whether autograd copies here because tensors are fake, or a mode looks on.

        It writes the gradient of an index into zeros, and adds a second gradient of a tensor to the
        first; both in place where nobody else holds them. A view's memory is held by what it is of.
        """
        if getattr(func, "overloadpacket", None) in _INTO_ZEROS:
            return True
        return func is _aten.add.Tensor and args[0] in self._fresh

    def _take_in(self, storage: torch.UntypedStorage) -> None:
        """A storage that was there before is not the call's: it is known, and weighs nothing."""
        known = self._known.get(id(storage))
        if known is None or not known.alive:
            self._known[id(storage)] = weakref.finalize(storage, int)

    def _follow(self, tensor: Tensor, func: Any) -> bool:
        """Whether the storage is new; if so, it is followed from now on."""
        storage = tensor.untyped_storage()
        key = id(storage)
        known = self._known.get(key)
        if known is not None and known.alive:
            return False
        size = storage.nbytes()
        origin = "" if self._origin is None else f"{self._origin(func)} {dtype_name(tensor)}"
        self._live += size
        self._live_by_origin[origin] += size
        self._known[key] = weakref.finalize(storage, self._free, size, origin)
        return True

    def _free(self, size: int, origin: str) -> None:
        self._live -= size
        self._live_by_origin[origin] -= size


def _name(func: Any) -> str:
    return str(getattr(func, "overloadpacket", func))


def _goes_backward() -> bool:
    return torch._C._current_graph_task_id() != -1
