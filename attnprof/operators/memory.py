"""The most bytes that the tensors of a call take at one time, on real tensors or on fake ones."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(run: Callable[[], object]) -> int:
    """The peak of one call: storages that it allocates, above what was live before it.

    The output counts, the inputs do not; buffers inside an operator, which no tensor holds outside
    it, are not seen.
    """
    with torch.compiler.set_stance("force_eager"), _Storages() as storages:
        output = run()
    del output
    return storages.peak


class _Storages(TorchDispatchMode):
    """Follows each storage that an operator makes until nothing holds it."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live = 0
        self._known: dict[int, weakref.finalize[Any, Any]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                self._known.setdefault(id(leaf.untyped_storage()), _outside(leaf))
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._follow(leaf.untyped_storage())
        self.peak = max(self.peak, self._live)
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)
        known = self._known.get(key)
        if known is not None and known.alive:
            return
        size = storage.nbytes()
        self._live += size
        self._known[key] = weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self._live -= size


def _outside(tensor: Tensor) -> weakref.finalize[Any, Any]:
    """A mark that lives as long as a storage that was there before: it is not the call's."""
    return weakref.finalize(tensor.untyped_storage(), int)
