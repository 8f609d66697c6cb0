"""Chains and tiles of tokens, as views of tensors of some heads, `(heads, tokens, ...)`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from attnprof.nn.banded.tiling import ChainGroup, TileRun


def contiguous_last_dim(tensor: Tensor) -> Tensor:
    """The tensor, or a copy where numbers of a row do not lie side by side in memory."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def gather(tensor: Tensor, chains: ChainGroup) -> Tensor:
    """The tokens of the chains, one chain behind the other, `(heads, tokens, ...)`.

    A copy, for rows that lie far apart are slow to compute with; without dilation the tensor.
    """
    if chains.dilation == 1:
        return tensor
    return _in_chains(tensor, chains).contiguous().flatten(1, 2)


def to_scatter(tensor: Tensor, chains: ChainGroup) -> Tensor:
    """Memory to write what belongs to the tokens that `gather` gives; see `scatter`."""
    if chains.dilation == 1:
        return tensor
    heads, _, *rest = tensor.shape
    return tensor.new_zeros((heads, chains.count * chains.length, *rest))


def scatter(tensors: Sequence[Tensor], written: Sequence[Tensor], chains: ChainGroup) -> None:
    """Puts what was written to the memory from `to_scatter` in its places in the tensors."""
    if chains.dilation > 1:
        for tensor, rows in zip(tensors, written, strict=True):
            _in_chains(tensor, chains).copy_(rows.unflatten(1, (chains.count, chains.length)))


def _in_chains(tensor: Tensor, chains: ChainGroup) -> Tensor:
    """`(heads, chains, length, ...)`, a view of `(heads, seq_len, ...)`."""
    heads, _, *rest = tensor.shape
    head_stride, token_stride, *rest_strides = tensor.stride()
    return tensor.as_strided(
        (heads, chains.count, chains.length, *rest),
        (head_stride, token_stride, chains.dilation * token_stride, *rest_strides),
        tensor.storage_offset() + chains.first * token_stride,
    )


def tiles_of(tensor: Tensor, first: int, tokens: int, run: TileRun) -> Tensor:
    """The tiles of that many tokens, the first of which begins at `first`: a view."""
    heads, _, *rest = tensor.shape
    head_stride, token_stride, *rest_strides = tensor.stride()
    return tensor.as_strided(
        (heads, run.tiles, tokens, *rest),
        (head_stride, run.spacing * token_stride, token_stride, *rest_strides),
        tensor.storage_offset() + first * token_stride,
    )


def query_tiles(tensor: Tensor, run: TileRun) -> Tensor:
    """The queries of a run, or what belongs to them: a view."""
    return tiles_of(tensor, run.first_query, run.queries, run)
