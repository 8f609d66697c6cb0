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

from attnprof.operators.buffers import buffer_bytes
from attnprof.operators.dtypes import dtype_name
from attnprof.operators.subclasses import is_made_of_plain_tensors

_aten = torch.ops.aten


def peak_bytes(run: Callable[[], object]) -> int:
    """The peak of one call: storages that it allocates, above what was live before it.

    The output counts, the inputs do not. What an operator allocates inside, which no tensor holds,
    is added where `attnprof.operators.buffers` knows it.
    """
    with torch.compiler.set_stance("force_eager"), Storages() as storages:
        output = run()
    del output
    return storages.peak


class Storages(TorchDispatchMode):
    """Follows each storage that an operator makes until nothing holds it.

    Args:
        origin: names where an operator runs; then the peak is told by origin and dtype, too.
    """

    supports_higher_order_operators = True

    def __init__(self, origin: Callable[[Any], str] | None = None) -> None:
        super().__init__()
        self.peak = 0
        self.peak_by_origin: dict[str, int] = {}
        self._origin = origin
        self._live_by_origin: Counter[str] = Counter()
        self._live = 0
        self._known: dict[int, weakref.finalize[Any, Any]] = {}
        self._fresh: Any = WeakIdKeyDictionary()

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
        inside = buffer_bytes(func, args, kwargs or {})
        if _goes_backward() and self._is_in_place_for_real(func, args):
            inside -= result.untyped_storage().nbytes()
        if self._live + inside > self.peak:
            self.peak = self._live + inside
            if self._origin is not None:
                self.peak_by_origin = dict(self._live_by_origin)
                if inside:
                    name = f"{self._origin(func)} buffers"
                    self.peak_by_origin[name] = self.peak_by_origin.get(name, 0) + inside
        return result

    def _is_in_place_for_real(self, func: Any, args: tuple[Any, ...]) -> bool:
        """Whether autograd copies here because tensors are fake, or a mode looks on.

        It writes the gradient of an index into zeros, and adds a second gradient of a tensor to the
        first; both in place where nobody else holds them. A view's memory is held by what it is of.
        """
        if func is _aten.index_put.default:
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


def _goes_backward() -> bool:
    return torch._C._current_graph_task_id() != -1
