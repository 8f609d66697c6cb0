"""Bytes and parameters that are alive as long as a call can be repeated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnprof.counting.call import Call

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Footprint:
    """What is alive as long as a call can be repeated.

    Attributes:
        parameters: number of parameters.
        static_bytes: bytes of parameters, buffers and inputs.
        has_frozen_parameters: whether one of the parameters requires no gradient.
        trained_bytes: bytes of those that require gradients.
    """

    parameters: int
    static_bytes: int
    has_frozen_parameters: bool
    trained_bytes: int


def footprint_of(call: Call) -> Footprint:
    """The footprint of a built call; storages that tensors share count once."""
    import torch
    from torch.utils._pytree import tree_leaves

    inputs = [leaf for leaf in tree_leaves(call.kwargs) if isinstance(leaf, torch.Tensor)]
    parameters = list(call.module.parameters())
    cached = () if call.cache is None else call.cache.tensors()
    tensors = [*parameters, *call.module.buffers(), *inputs, *cached]
    return Footprint(
        sum(p.numel() for p in parameters),
        _storage_bytes(tensors),
        not all(parameter.requires_grad for parameter in parameters),
        _storage_bytes(tensor for tensor in tensors if tensor.requires_grad),
    )


def _storage_bytes(tensors: Iterable[torch.Tensor]) -> int:
    storages = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors
    }
    return sum(storages.values())
