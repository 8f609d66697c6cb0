"""Bytes that an operator allocates inside, beside its outputs: exact, or within bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

Formula = Callable[..., "int | InnerBytes"]
"""Takes the operator's arguments by name and `result`; returns bytes, or bounds for them."""


@dataclass(frozen=True, slots=True)
class InnerBytes:
    """The most bytes at one time inside one call of an operator.

    Attributes:
        bytes: lower bound.
        at_most: upper bound over all CPUs and library versions; None if there is none. Equal to
            `bytes` if the value is exact.
    """

    bytes: int = 0
    at_most: int | None = 0


NO_BYTES = InnerBytes()
UNKNOWN_BYTES = InnerBytes(0, None)


def at_most(size: int) -> InnerBytes:
    """Between 0 and `size` bytes."""
    return InnerBytes(0, size)


def bytes_of(tensor: Tensor) -> int:
    """Bytes of the tensor's elements, as if contiguous."""
    return tensor.numel() * tensor.itemsize


def is_on_cpu(tensor: Tensor) -> bool:
    """Whether the tensor is on the CPU."""
    return tensor.device.type == "cpu"


def copies(times: int) -> Formula:
    """A formula: at most `times` copies of all inputs and outputs, in float32 or wider."""

    def formula(**arguments: Any) -> InnerBytes:
        tensors = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)]
        return at_most(times * sum(t.numel() * max(4, t.itemsize) for t in tensors))

    return formula


def contiguous_copy(self: Tensor, **_: Any) -> int:
    """A formula: the CPU copies the input if it is not contiguous."""
    return bytes_of(self) if is_on_cpu(self) and not self.is_contiguous() else 0
