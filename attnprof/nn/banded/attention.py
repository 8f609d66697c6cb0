"""Attention in a dilated band with global keys, in linear time and memory, forward and backward.

A band is cut into chains and these into tiles (`attnprof.nn.banded.tiling`), which are views of the
tensors; a `TileOperator` computes each. Global keys outside a query's band are attended to
separately and merged by log-sum-exp, so that the result is exactly one softmax over all keys. The
outputs of the global tokens themselves are computed by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from attnprof.nn.banded.band import Band, SequenceKeys
from attnprof.nn.banded.key_sources import KeySource
from attnprof.nn.banded.tile_kernels import TileOperator, accumulate_type, operator_for
from attnprof.nn.banded.tile_views import (
    contiguous_last_dim,
    gather,
    query_tiles,
    scatter,
    to_scatter,
)
from attnprof.nn.banded.tiling import ChainGroup, Sides, TileRun, TileSizes, chains, runs


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    global_rows: Tensor | None,
    key_padding_mask: Tensor | None,
    band: Band,
    scale: float,
    dropout_p: float = 0.0,
    output: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The attention output, and the log-sum-exp that `backward` needs.

    Args:
        query: `(batch, heads, seq_len, head_dim)`; any strides.
        key: `(batch, kv_heads, seq_len, head_dim)`; kv_heads divides heads.
        value: `(batch, kv_heads, seq_len, value_dim)`.
        global_rows: the outputs of global tokens that attend to all tokens, `(batch, heads,
            globals, value_dim)`, where globals is the largest number of a sequence; they replace
            rows of the output. None if there are none.
        key_padding_mask: bool `(batch, seq_len)`, true for padded keys, to which no query attends.
        band: which keys the queries attend to.
        scale: factor of the scores.
        dropout_p: probability with which an attention weight is dropped.
        output: the tensor to write to; it may be `query` if values are as wide, since a tile is
            read before it is written. A new one if None.

    Returns:
        The output `(batch, heads, seq_len, value_dim)`, and the log-sum-exp of the scores `(batch,
        heads, seq_len)`, which is inf at global tokens.
    """
    output = empty_bshd(query, value.shape[3]) if output is None else output
    query, key, value = map(contiguous_last_dim, (query, key, value))
    log_sum_exp = query.new_empty(query.shape[:3], dtype=accumulate_type(query))
    operator = operator_for(query, value, dropout_p, scale)
    sizes = operator.forward_tile_sizes(band.sides)
    for item, heads in band.head_groups(key.shape[1]):
        keys = SequenceKeys.of(key, value, key_padding_mask, band, item, heads.keys)
        of_heads = _of_heads(item, heads.queries, query, output, log_sum_exp)
        for group in chains(query.shape[2], heads.dilation, sizes.tokens_per_call):
            _forward_chains(group, keys, sizes, operator, *of_heads)
    if global_rows is not None:
        set_global_rows(output, log_sum_exp, global_rows, band)
    return output, log_sum_exp


def set_global_rows(output: Tensor, log_sum_exp: Tensor, global_rows: Tensor, band: Band) -> None:
    """Write the outputs of global tokens in place of those of the band.

    Args:
        output: `(batch, heads, seq_len, value_dim)`.
        log_sum_exp: `(batch, heads, seq_len)`; becomes inf at global tokens.
        global_rows: `(batch, heads, globals, value_dim)`.
        band: with the positions of global tokens.
    """
    for item, positions in enumerate(band.global_positions):
        index = torch.tensor(positions, dtype=torch.int64, device=output.device)
        output[item].index_copy_(1, index, global_rows[item, :, : len(positions)])
        # exp(score - inf) is 0: no gradient flows from these rows into the band.
        log_sum_exp[item].index_fill_(1, index, torch.inf)


def backward(
    grad_output: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    band: Band,
    scale: float,
    dropout_p: float,
    output: Tensor,
    log_sum_exp: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of query, key and value, shaped as these.

    Args:
        grad_output: gradient of the output, `(batch, heads, seq_len, value_dim)`.
        query: as passed to `forward`.
        key: as passed to `forward`.
        value: as passed to `forward`.
        key_padding_mask: as passed to `forward`.
        band: as passed to `forward`.
        scale: as passed to `forward`.
        dropout_p: as passed to `forward`; torch's random state must be the one before that call.
        output: as returned by `forward`.
        log_sum_exp: as returned by `forward`.
    """
    grad_output, query, key, value = map(contiguous_last_dim, (grad_output, query, key, value))
    dtype = accumulate_type(query)
    gradients = [
        empty_bshd(query),
        empty_bshd(key, dtype=dtype).zero_(),
        empty_bshd(value, dtype=dtype).zero_(),
    ]
    operator = operator_for(query, value, dropout_p, scale)
    sizes = operator.backward_tile_sizes(band.sides)
    for item, heads in band.head_groups(key.shape[1]):
        keys = SequenceKeys.of(key, value, key_padding_mask, band, item, heads.keys)
        inputs = _of_heads(item, heads.queries, grad_output, query, output, log_sum_exp)
        of_heads = [
            *_of_heads(item, heads.queries, gradients[0]),
            *_of_heads(item, heads.keys, *gradients[1:]),
        ]
        of_globals = [
            torch.zeros_like(tensor, dtype=dtype) for tensor in (keys.global_key, keys.global_value)
        ]
        for group in chains(query.shape[2], heads.dilation, sizes.tokens_per_call):
            _backward_chains(group, keys, sizes, operator, inputs, of_heads, of_globals)
        while of_globals:
            of_heads.pop().index_add_(1, keys.global_index, of_globals.pop())
    grad_query, grad_key, grad_value = gradients
    return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype)


def empty_bshd(
    tensor: Tensor, width: int | None = None, *, dtype: torch.dtype | None = None
) -> Tensor:
    """An uninitialised tensor `(batch, heads, seq_len, width)`, of the given one's width if None.

    In memory it is `(batch, seq_len, heads, width)`, the layout of the next projection's input.
    """
    batch, heads, seq_len, own_width = tensor.shape
    shape = (batch, seq_len, heads, own_width if width is None else width)
    return tensor.new_empty(shape, dtype=dtype).transpose(1, 2)


def _of_heads(item: int, heads: range, *tensors: Tensor) -> list[Tensor]:
    """Views of some heads of one sequence, `(heads, seq_len, ...)`."""
    return [tensor[item, heads.start : heads.stop] for tensor in tensors]


def _runs(group: ChainGroup, sides: Sides, sizes: TileSizes) -> Iterator[TileRun]:
    """The tiles of some chains, one operator call at a time."""
    for run in runs(group.length, group.count, sides, sizes):
        yield from run.parts(sizes.tokens_per_call)


def _forward_chains(
    group: ChainGroup,
    keys: SequenceKeys,
    sizes: TileSizes,
    operator: TileOperator,
    query: Tensor,
    output: Tensor,
    log_sum_exp: Tensor,
) -> None:
    """Writes output and log-sum-exp of the queries of some chains."""
    queries, sources = gather(query, group), keys.sources(group)
    results = [to_scatter(tensor, group) for tensor in (output, log_sum_exp)]
    for run in _runs(group, keys.band.sides, sizes):
        _forward_run(run, sources, operator, queries, *results)
    scatter((output, log_sum_exp), results, group)


def _backward_chains(
    group: ChainGroup,
    keys: SequenceKeys,
    sizes: TileSizes,
    operator: TileOperator,
    inputs: list[Tensor],
    gradients: list[Tensor],
    of_globals: list[Tensor],
) -> None:
    """Writes the gradients of the queries, keys and values of some chains.

    Args:
        group: the chains.
        keys: all keys of these heads.
        sizes: of the tiles.
        operator: computes the tiles.
        inputs: gradient of the output, query, output and log-sum-exp, `(heads, seq_len, ...)`.
        gradients: of query, key and value, `(heads, seq_len, ...)`; that of the query is written,
            and to the others those from these queries are added.
        of_globals: gradients of the global keys and values, `(heads, globals, ...)`, to which
            those of these queries are added.
    """
    gathered = [gather(tensor, group) for tensor in inputs]
    of_queries = to_scatter(gradients[0], group)
    # Query heads of another dilation may have added to the gradients of these keys and values.
    of_band = [gather(tensor, group) for tensor in gradients[1:]]
    sources = keys.sources(group)
    for run in _runs(group, keys.band.sides, sizes):
        _backward_run(run, sources, operator, gathered, of_queries, [of_band, of_globals])
    scatter(gradients, [of_queries, *of_band], group)


def _forward_run(
    run: TileRun,
    sources: list[KeySource],
    operator: TileOperator,
    query: Tensor,
    output: Tensor,
    log_sum_exp: Tensor,
) -> None:
    """Writes output and log-sum-exp of a run's queries, merged over all sources of keys."""
    (band_output, band_sums), *other_results = [
        operator.forward(
            source.queries(query, run),
            source.keys(source.key, run),
            source.keys(source.value, run),
            source.bias(run),
        )
        for source in sources
    ]
    output, log_sum_exp = query_tiles(output, run), query_tiles(log_sum_exp, run)
    if not other_results:
        output.copy_(band_output)
        log_sum_exp.copy_(band_sums)
        return
    ((global_output, global_sums),) = other_results
    global_sums = global_sums.view(band_sums.shape)
    share_of_globals = (global_sums - band_sums).sigmoid_().unsqueeze(-1).to(band_output.dtype)
    torch.lerp(band_output, global_output.view(band_output.shape), share_of_globals, out=output)
    torch.logaddexp(band_sums, global_sums, out=log_sum_exp)


def _backward_run(
    run: TileRun,
    sources: list[KeySource],
    operator: TileOperator,
    inputs: list[Tensor],
    grad_query: Tensor,
    grad_keys: list[list[Tensor]],
) -> None:
    """Writes the gradient of a run's queries, and adds to those of each source's keys and values.

    `inputs` are the gradient of the output, the queries, the output and the log-sum-exp.
    """
    grad_query = query_tiles(grad_query, run).zero_()
    # In the order of `_forward_run`, so that dropout draws the same random numbers.
    for source, of_source in zip(sources, grad_keys, strict=False):
        _backward_source(run, source, operator, inputs, grad_query, of_source)


def _backward_source(
    run: TileRun,
    source: KeySource,
    operator: TileOperator,
    inputs: list[Tensor],
    grad_query: Tensor,
    grad_keys: list[Tensor],
) -> None:
    """Adds the gradients from attention to the keys of one source."""
    grad_output, query, output, log_sum_exp = (source.queries(tensor, run) for tensor in inputs)
    of_queries, *of_keys = operator.backward(
        grad_output,
        query,
        source.keys(source.key, run),
        source.keys(source.value, run),
        output,
        log_sum_exp,
        source.bias(run),
    )
    grad_query.add_(of_queries.reshape(grad_query.shape))
    for total, gradient in zip(grad_keys, of_keys, strict=True):
        source.add_gradient(total, gradient, run)
