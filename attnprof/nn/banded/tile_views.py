"""Views of chains and tiles of tokens, of tensors `(heads, tokens, ...)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attnprof.nn.banded.tiling import ChainGroup, TileRun


def contiguous_last_dim(tensor: Tensor) -> Tensor:
    """The tensor, or a contiguous copy if its last dimension is not contiguous."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def gather(tensor: Tensor, chains: ChainGroup) -> Tensor:
    """The tokens of the chains, concatenated: `(heads, count * length, ...)`.

    A copy, since computing with rows that are far apart is slow; without dilation the tensor
    itself.
    """
    if chains.dilation == 1:
        return tensor
    return _in_chains(tensor, chains).clone(memory_format=torch.contiguous_format).flatten(1, 2)


def to_scatter(tensor: Tensor, chains: ChainGroup) -> Tensor:
    """Zeros for results of the tokens in the order of `gather`; `scatter` puts them in place.

    Without dilation the tensor itself.
    """
    if chains.dilation == 1:
        return tensor
    heads, _, *rest = tensor.shape
    return tensor.new_zeros((heads, chains.count * chains.length, *rest))


def scatter(tensors: Sequence[Tensor], written: Sequence[Tensor], chains: ChainGroup) -> None:
    """Copy results, written to the tensors from `to_scatter`, to their positions in `tensors`."""
    if chains.dilation > 1:
        for tensor, rows in zip(tensors, written, strict=True):
            _in_chains(tensor, chains).copy_(rows.unflatten(1, (chains.count, chains.length)))


def _in_chains(tensor: Tensor, chains: ChainGroup) -> Tensor:
    """A view `(heads, count, length, ...)` of `(heads, seq_len, ...)`."""
    heads, _, *rest = tensor.shape
    head_stride, token_stride, *rest_strides = tensor.stride()
    return tensor.as_strided(
        (heads, chains.count, chains.length, *rest),
        (head_stride, token_stride, chains.dilation * token_stride, *rest_strides),
        tensor.storage_offset() + chains.first * token_stride,
    )


def tiles_of(tensor: Tensor, first: int, tokens: int, run: TileRun) -> Tensor:
    """A view of the run's tiles, `(heads, tiles, tokens, ...)`.

    Args:
        tensor: `(heads, tokens of all chains, ...)`.
        first: index of the first token of the first tile.
        tokens: tokens of each tile.
        run: the number of tiles and their spacing.
    """
    heads, _, *rest = tensor.shape
    head_stride, token_stride, *rest_strides = tensor.stride()
    return tensor.as_strided(
        (heads, run.tiles, tokens, *rest),
        (head_stride, run.spacing * token_stride, token_stride, *rest_strides),
        tensor.storage_offset() + first * token_stride,
    )


def query_tiles(tensor: Tensor, run: TileRun) -> Tensor:
    """A view of the queries of a run, or of results for them, `(heads, tiles, queries, ...)`."""
    return tiles_of(tensor, run.first_query, run.queries, run)
