"""Masks in FlexAttention's signature, for `attnprof --pattern examples.own_masks:NAME`."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Mask = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def growing_windows(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """Causal windows that differ by head: 64 keys in the first, 64 more in each further one."""
    return (query >= key) & (query - key < 64 * (head + 1))


def chunks_with_sinks(chunk: int = 512, sinks: int = 4) -> Mask:
    """Chunks whose queries also attend to the first tokens of the sequence."""

    def mask(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & ((query // chunk == key // chunk) | (key < sinks))

    return mask
