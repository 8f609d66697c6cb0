"""How large tensors follow from known ones, and the values of small parts of them.

A mask of n x n elements is not computed for long sequences, but a row of it may be: transformers'
Longformer makes such a mask of its padding and keeps one row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from attnprof.counting.aten_operators import aten_operators

View = Callable[[Tensor], Tensor]
"""Takes a tensor, and returns a part of it or the same elements in another order."""

_LIKE_POINTWISE = ("_to_copy", "clone", "where", "masked_fill")
"""Operators with an element of the result for each of the input that torch does not tag so."""

_VIEWS = aten_operators("slice select unsqueeze squeeze expand permute transpose t alias detach")
"""Views that mean the same whatever the strides of a tensor are."""


@dataclass(frozen=True, slots=True)
class Derivation:
    """How a tensor that is too large to be computed follows from known ones.

    Attributes:
        func: the operator.
        args: its arguments.
        kwargs: its named arguments.
        versions: of the tensors among the arguments and of the result: they count writes.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    versions: tuple[int, ...]

    def is_current(self, result: Tensor) -> bool:
        """Whether neither the arguments nor the result have been written to since."""
        return versions_of(result, self.args, self.kwargs) == self.versions


@dataclass(frozen=True, slots=True)
class KnownTensors:
    """What is known of tensors.

    Attributes:
        value: the values of a tensor, or None.
        derivation: how a large tensor follows from known ones, or None.
    """

    value: Callable[[Tensor], Tensor | None]
    derivation: Callable[[Tensor], Derivation | None]


def value_of_part(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], known: KnownTensors
) -> Tensor | None:
    """The values of a view of a large tensor; None if they are not known.

    Args:
        func: the operator that makes the view.
        args: its arguments, the large tensor first.
        kwargs: its named arguments.
        known: what is known of the tensors from which the large one follows.
    """
    if func.overloadpacket not in _VIEWS or not isinstance(args[0], Tensor):
        return None
    try:
        return _viewed(args[0], [lambda value: func(value, *args[1:], **kwargs)], known)
    except RuntimeError:  # strides may differ from those of fake tensors
        return None


def _viewed(tensor: Tensor, views: Sequence[View], known: KnownTensors) -> Tensor | None:
    """The values of a tensor after some views, from those that it follows from."""
    value = known.value(tensor)
    if value is not None:
        for view in views:
            value = view(value)
        return value
    derivation = known.derivation(tensor)
    if derivation is None or not derivation.is_current(tensor):
        return None
    func, args, kwargs = derivation.func, derivation.args, derivation.kwargs
    if func.overloadpacket in _VIEWS:
        return _viewed(args[0], [lambda value: func(value, *args[1:], **kwargs), *views], known)
    if not is_like_pointwise(func):
        return None
    views = [lambda value: value.expand(tensor.shape), *views]
    inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    parts = {id(leaf): _viewed(leaf, views, known) for leaf in inputs}
    if any(part is None for part in parts.values()):
        return None

    def on_cpu(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return parts[id(leaf)]
        return torch.device("cpu") if isinstance(leaf, torch.device) else leaf

    args, kwargs = tree_map(on_cpu, (args, kwargs))
    return func(*args, **kwargs)


def is_like_pointwise(func: Any) -> bool:
    """Whether each element of its result follows from those in the same place."""
    return torch.Tag.pointwise in func.tags or func.overloadpacket.__name__ in _LIKE_POINTWISE


def versions_of(result: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """How often each tensor was written to; None in inference mode, which does not count that."""
    tensors = [result, *(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))]
    if any(tensor.is_inference() for tensor in tensors):
        return None
    return tuple(tensor._version for tensor in tensors)
