"""Memory that is written again and again: fresh pages cost more than what is computed in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Scratch:
    """Buffers by name, each as large as the largest tensor that was asked of it."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._buffers: dict[tuple[str, torch.dtype], Tensor] = {}

    def tensor(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """An uninitialised contiguous tensor; what was in the buffer of that name is lost."""
        size = math.prod(shape)
        buffer = self._buffers.get((name, dtype))
        if buffer is None or buffer.numel() < size:
            buffer = self._like.new_empty(size, dtype=dtype)
            self._buffers[name, dtype] = buffer
        return buffer[:size].view(*shape)
