"""Attention in a dilated band with global keys, in linear time and memory, forward and backward.

A band is cut into chains and these into tiles (`attnprof.nn.banded.tiling`), which are views of the
tensors; fused attention computes each. Keys of global tokens that lie outside a query's band are
computed separately and merged by log-sum-exp: exactly one softmax over all keys. The rows of the
global tokens themselves are the caller's part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from attnprof.nn.banded.key_sources import BandKeys, GlobalKeys, KeySource
from attnprof.nn.banded.tile_kernels import TileOperator, accumulate_type, operator_for
from attnprof.nn.banded.tile_views import (
    contiguous_last_dim,
    gather,
    query_tiles,
    scatter,
    to_scatter,
)
from attnprof.nn.banded.tiling import ChainGroup, TileRun, TileSizes, chains, runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Which keys the queries read.

    Attributes:
        window: keys around a query, w/2 on each side.
        dilation: positions between the keys of a query, one value per head.
        global_positions: those of each sequence in the batch, ascending.
    """

    window: int
    dilation: tuple[int, ...]
    global_positions: tuple[tuple[int, ...], ...]

    def heads_of_sequences(self) -> Iterator[tuple[int, slice, int]]:
        """Each sequence of the batch, its neighbouring heads of equal dilation, and that."""
        for item in range(len(self.global_positions)):
            start = 0
            for dilation, heads in groupby(self.dilation):
                stop = start + len(list(heads))
                yield item, slice(start, stop), dilation
                start = stop


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
    """The output, and the log-sum-exp `(batch, heads, seq_len)` that `backward` needs.

    Args:
        query: `(batch, heads, seq_len, head_dim)`, as are `key` and `value`.
        key: the keys.
        value: the values.
        global_rows: the outputs of global tokens, `(batch, heads, globals, head_dim)` with as many
            as the sequence that has the most.
        key_padding_mask: bool `(batch, seq_len)`, true for a key that nobody reads.
        band: which keys the queries read.
        scale: factor of the scores.
        dropout_p: probability with which a weight is dropped.
        output: where to write; `query` itself will do, for tiles are read before they are written.
    """
    output = empty_bshd(query) if output is None else output
    query, key, value = map(contiguous_last_dim, (query, key, value))
    log_sum_exp = query.new_empty(query.shape[:3], dtype=accumulate_type(query))
    operator = operator_for(query, dropout_p, scale)
    cut = operator.forward_tile_sizes(band.window)
    for item, heads, dilation in band.heads_of_sequences():
        keys = _Keys.of(key, value, key_padding_mask, band, item, heads)
        own = [tensor[item, heads] for tensor in (query, output, log_sum_exp)]
        for part in chains(query.shape[2], dilation, cut.tokens_per_call):
            _forward_chains(part, keys, cut, operator, *own)
    if global_rows is not None:
        for item, positions in enumerate(band.global_positions):
            index = torch.tensor(positions, dtype=torch.int64, device=query.device)
            output[item].index_copy_(1, index, global_rows[item, :, : len(positions)])
            # so that no gradient flows from these rows into the band
            log_sum_exp[item].index_fill_(1, index, torch.inf)
    return output, log_sum_exp


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
    """The gradients of query, key and value, from what `forward` was given and returned."""
    grad_output, query, key, value = map(contiguous_last_dim, (grad_output, query, key, value))
    dtype = accumulate_type(query)
    gradients = [
        empty_bshd(query),
        empty_bshd(key, dtype).zero_(),
        empty_bshd(value, dtype).zero_(),
    ]
    operator = operator_for(query, dropout_p, scale)
    cut = operator.backward_tile_sizes(band.window)
    for item, heads, dilation in band.heads_of_sequences():
        keys = _Keys.of(key, value, key_padding_mask, band, item, heads)
        read = [tensor[item, heads] for tensor in (grad_output, query, output, log_sum_exp)]
        own = [gradient[item, heads] for gradient in gradients]
        of_globals = [
            torch.zeros_like(t, dtype=dtype) for t in (keys.global_key, keys.global_value)
        ]
        for part in chains(query.shape[2], dilation, cut.tokens_per_call):
            _backward_chains(part, keys, cut, operator, read, own, of_globals)
        for gradient, of_global in zip(own[1:], of_globals, strict=True):
            gradient.index_add_(1, keys.global_index, of_global)
    grad_query, grad_key, grad_value = gradients
    return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype)


def empty_bshd(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Memory for a tensor of that shape, laid out `(batch, seq_len, heads, head_dim)`."""
    batch, heads, seq_len, head_dim = tensor.shape
    return tensor.new_empty((batch, seq_len, heads, head_dim), dtype=dtype).transpose(1, 2)


def _runs(part: ChainGroup, window: int, cut: TileSizes) -> Iterator[TileRun]:
    """The tiles of some chains, a few at a time."""
    for run in runs(part.length, part.count, window, cut):
        yield from run.parts(cut.tokens_per_call)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """All keys that some heads of one sequence read.

    Attributes:
        key: `(heads, seq_len, head_dim)`.
        value: shaped as the keys.
        padding: 0, and -inf for keys that nobody reads, `(1, seq_len)`; None where there are none.
        window: keys around a query.
        global_positions: ascending.
        global_index: the same as a tensor.
        global_key: the keys there, `(heads, globals, head_dim)`.
        global_value: the values there.
    """

    key: Tensor
    value: Tensor
    padding: Tensor | None
    window: int
    global_positions: tuple[int, ...]
    global_index: Tensor
    global_key: Tensor
    global_value: Tensor

    @classmethod
    def of(
        cls,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None,
        band: Band,
        item: int,
        heads: slice,
    ) -> _Keys:
        """The keys of those heads of one sequence of a batch."""
        key, value = key[item, heads], value[item, heads]
        padding = None
        if key_padding_mask is not None:
            padding = key.new_zeros((1, key.shape[1]))
            padding.masked_fill_(key_padding_mask[item], -torch.inf)
        positions = band.global_positions[item]
        index = torch.tensor(positions, dtype=torch.int64, device=key.device)
        return cls(
            key=key,
            value=value,
            padding=padding,
            window=band.window,
            global_positions=positions,
            global_index=index,
            global_key=key[:, index],
            global_value=value[:, index],
        )

    def sources(self, part: ChainGroup) -> list[KeySource]:
        """Where the queries of some chains find them."""
        sources: list[KeySource] = [
            BandKeys(
                key=gather(self.key, part),
                value=gather(self.value, part),
                window=self.window,
                padding=None if self.padding is None else gather(self.padding, part),
            )
        ]
        if self.global_positions:
            sources.append(
                GlobalKeys(
                    key=self.global_key,
                    value=self.global_value,
                    positions=self.global_positions,
                    window=self.window,
                    chains=part,
                    padding=None if self.padding is None else self.padding[:, self.global_index],
                )
            )
        return sources


def _forward_chains(
    part: ChainGroup,
    keys: _Keys,
    cut: TileSizes,
    operator: TileOperator,
    query: Tensor,
    output: Tensor,
    log_sum_exp: Tensor,
) -> None:
    """Attends for the queries of some chains."""
    queries, sources = gather(query, part), keys.sources(part)
    written = [to_scatter(tensor, part) for tensor in (output, log_sum_exp)]
    for run in _runs(part, keys.window, cut):
        _forward_run(run, sources, operator, queries, *written)
    scatter((output, log_sum_exp), written, part)


def _backward_chains(
    part: ChainGroup,
    keys: _Keys,
    cut: TileSizes,
    operator: TileOperator,
    read: list[Tensor],
    gradients: list[Tensor],
    of_globals: list[Tensor],
) -> None:
    """Writes the gradients of the queries, keys and values of some chains."""
    gathered = [gather(tensor, part) for tensor in read]
    of_queries, *of_band = written = [to_scatter(tensor, part) for tensor in gradients]
    sources = keys.sources(part)
    for run in _runs(part, keys.window, cut):
        _backward_run(run, sources, operator, gathered, of_queries, [of_band, of_globals])
    scatter(gradients, written, part)


def _forward_run(
    run: TileRun,
    sources: list[KeySource],
    operator: TileOperator,
    query: Tensor,
    output: Tensor,
    log_sum_exp: Tensor,
) -> None:
    """Attends for a run's queries, and writes their rows of output and log-sum-exp."""
    (attended, sums), *others = [
        operator.forward(
            source.queries(query, run),
            source.keys(source.key, run),
            source.keys(source.value, run),
            source.bias(run),
        )
        for source in sources
    ]
    output, log_sum_exp = query_tiles(output, run), query_tiles(log_sum_exp, run)
    if not others:
        output.copy_(attended)
        log_sum_exp.copy_(sums)
        return
    ((of_globals, their_sums),) = others
    their_sums = their_sums.view(sums.shape)
    share_of_globals = (their_sums - sums).sigmoid_().unsqueeze(-1).to(attended.dtype)
    torch.lerp(attended, of_globals.view(attended.shape), share_of_globals, out=output)
    torch.logaddexp(sums, their_sums, out=log_sum_exp)


def _backward_run(
    run: TileRun,
    sources: list[KeySource],
    operator: TileOperator,
    read: list[Tensor],
    grad_query: Tensor,
    grad_keys: list[list[Tensor]],
) -> None:
    """Writes the gradient of a run's queries, and adds to those of each source's keys, values.

    Read are the gradient of the output, the queries, the output and the log-sum-exp.
    """
    grad_query = query_tiles(grad_query, run).zero_()
    # in the order of `_forward_run`, for dropout to draw the same numbers
    for source, own in zip(sources, grad_keys, strict=False):
        _backward_source(run, source, operator, read, grad_query, own)


def _backward_source(
    run: TileRun,
    source: KeySource,
    operator: TileOperator,
    read: list[Tensor],
    grad_query: Tensor,
    grad_keys: list[Tensor],
) -> None:
    """Adds the gradients that come by the keys of one source."""
    grad_output, query, output, log_sum_exp = (source.queries(tensor, run) for tensor in read)
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
