"""What an operator allocates inside, beside its outputs: exactly, or between bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

Formula = Callable[..., "int | InnerBytes"]
"""Takes the operator's arguments by name and `result`; returns bytes, or bounds of them."""


@dataclass(frozen=True, slots=True)
class InnerBytes:
    """The most bytes at one time inside one call of an operator.

    Attributes:
        bytes: that it certainly takes.
        at_most: that it may take, on some machine or in some version of a library; None where
            nothing bounds them. Equal to `bytes` where they are known.
    """

    bytes: int = 0
    at_most: int | None = 0


NO_BYTES = InnerBytes()
UNKNOWN_BYTES = InnerBytes(0, None)


def at_most(size: int) -> InnerBytes:
    """Between nothing and so many bytes."""
    return InnerBytes(0, size)


def bytes_of(tensor: Tensor) -> int:
    """Of the tensor's numbers, each once."""
    return tensor.numel() * tensor.itemsize


def is_on_cpu(tensor: Tensor) -> bool:
    """Whether the CPU's kernels compute with it."""
    return tensor.device.type == "cpu"


def copies(times: int) -> Formula:
    """A formula: at most so many copies of all that goes in and out, in float32 or wider."""

    def formula(**arguments: Any) -> InnerBytes:
        tensors = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)]
        return at_most(times * sum(t.numel() * max(4, t.itemsize) for t in tensors))

    return formula


def copy_with_gaps(self: Tensor, **_: Any) -> int:
    """A formula: the CPU computes on a copy without gaps."""
    return bytes_of(self) if is_on_cpu(self) and not self.is_contiguous() else 0
