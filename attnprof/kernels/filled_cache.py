"""A transformers cache that is filled with earlier tokens, and can be put back to them.

Source: transformers, cache_utils.py.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attnprof.counting.call import CachedTokens

if TYPE_CHECKING:
    import torch
    from torch import nn

CACHE_ARGUMENTS = ("cache", "past_key_values")
"""Names of the argument that takes a cache, in newer and in older releases of transformers."""


class FilledCache:
    """The present state of a transformers cache, to which `restore` returns.

    Its layers replace their tensors and counters in each call, so that putting back the attributes
    undoes it. Layers that are changed in place (linear attention, preallocated caches) keep what a
    call has written: their contents then differ, their sizes and the work on them do not.

    Args:
        cache: such as `DynamicCache`, filled with earlier tokens.
    """

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self._layers = [(layer, _copied(vars(layer))) for layer in cache.layers]

    def restore(self) -> None:
        """Put back the attributes of each layer, and remove layers that were added."""
        self._cache.layers[:] = [layer for layer, _ in self._layers]
        for layer, attributes in self._layers:
            layer.__dict__.clear()
            layer.__dict__.update(_copied(attributes))

    def tensors(self) -> list[torch.Tensor]:
        """Keys, values and states that it holds now; no counters and no positions."""
        import torch
        from torch.utils._pytree import tree_leaves

        leaves = [leaf for layer in self._cache.layers for leaf in tree_leaves(vars(layer))]
        return [
            leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
        ]

    def earlier(self, layer: int) -> CachedTokens | None:
        """The tokens in one layer, the last ones of the sequence; None if it has no keys."""
        import torch

        cached: Any = self._cache.layers[layer] if layer < len(self._cache.layers) else None
        keys: torch.Tensor | None = getattr(cached, "keys", None)
        if keys is None or not keys.numel():
            return None
        end, kept = cached.get_seq_length(), keys.shape[2]
        positions = torch.arange(end - kept, end, device=keys.device)
        return CachedTokens(positions, keys, cached.values)


class FilledWindowCache(FilledCache):
    """The present state of an `attnprof.nn.window_cache.WindowCache`.

    Args:
        cache: filled with earlier tokens.
    """

    def earlier(self, layer: int) -> CachedTokens | None:
        """The tokens in one layer, attention sinks first; None if it has none."""
        import torch

        cached = self._cache.layers[layer]
        if cached.keys is None:
            return None
        positions = torch.tensor(cached.held.positions, device=cached.keys.device)
        return CachedTokens(positions, cached.keys, cached.values)


def _copied(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes, with new lists and dicts of the same tensors."""
    return {
        name: copy.copy(value) if isinstance(value, list | dict) else value
        for name, value in attributes.items()
    }


def drop_unused_memory(cache: Any) -> None:
    """Replace views in a cache by copies, as they are some tokens after the prompt.

    A layer with a window keeps a view of its last keys, and with it the tensor of all tokens of the
    call: after the prompt of the whole prompt, until the next token is decoded.
    """
    import torch

    for layer in cache.layers:
        for name, value in vars(layer).items():
            if isinstance(value, torch.Tensor) and allocated_bytes([value]) > value.nbytes:
                setattr(layer, name, value.clone())


def static_cache_bytes(cache: Any, config: Any, tokens: int) -> int | None:
    """Bytes that transformers' `StaticCache` allocates for that many tokens.

    Args:
        cache: a filled `DynamicCache` of the model, for the shapes of its layers.
        config: of the model.
        tokens: the longest sequence.

    Returns:
        None where transformers has no such cache for a layer of the model.
    """
    from transformers import StaticCache

    try:
        static: Any = StaticCache(config=config, max_cache_len=tokens)
    except KeyError:  # a type of layer, such as compressed attention, that has no static form
        return None
    if len(static.layers) != len(cache.layers):
        return None
    for layer, filled in zip(static.layers, cache.layers, strict=True):
        if getattr(filled, "keys", None) is None:  # a state of linear attention
            return None
        layer.lazy_initialization(filled.keys[:, :, :0], filled.values[:, :, :0])
    return allocated_bytes(FilledCache(static).tensors())


def allocated_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of the storages of tensors, each once: a view keeps all of the tensor it is of."""
    storages = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors
    }
    return sum(storages.values())


def cache_argument(module: nn.Module | type[nn.Module]) -> str:
    """The name of the argument in which a module takes a cache; empty if it takes none."""
    parameters = inspect.signature(module.forward).parameters
    return next((name for name in CACHE_ARGUMENTS if name in parameters), "")
