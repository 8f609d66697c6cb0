"""Attention in a dilated band with global keys by Triton kernels, forward and backward.

The functions are those of `attnprof.nn.banded.attention`, without dropout, for float32 and the half
precisions. Heads of one dilation are one launch of a kernel; its programs address the rows of a
chain in place, so that a dilated band is as much work as another, and nothing is gathered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from attnprof.nn.banded.attention import empty_bshd, set_global_rows
from attnprof.nn.banded.band import Band
from attnprof.nn.banded.tile_views import contiguous_last_dim
from attnprof.nn.banded.tiling import HeadGroup, head_groups
from attnprof.nn.banded.triton_backward import (
    global_gradient_kernel,
    key_gradient_kernel,
    query_gradient_kernel,
)
from attnprof.nn.banded.triton_forward import forward_kernel
from attnprof.nn.banded.triton_sizes import (
    QUERIES_PER_PARTIAL_SUM,
    KernelSizes,
    TritonTile,
    triton_tiles,
)

_LOG2_OF_E = 1.4426950408889634

Argument = tuple[Any, ...]
"""A tensor of a kernel and its strides, or numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Launch:
    """Some heads of equal dilation, whose programs one launch of a kernel runs.

    Attributes:
        heads: the group.
        band: length of the sequence, dilation, and keys before and after a query.
        positions: of global tokens, `(batch, globals)`, and their number; None without any.
        padded: `(batch, seq_len)`, not 0 at padded keys, and its strides; None without padding.
        scales: the factor of scores, and the same in units of log 2.
        sizes: what the kernel is compiled for.
    """

    heads: HeadGroup
    band: tuple[int, int, int, int]
    positions: Argument | None
    padded: Argument | None
    scales: tuple[float, float]
    sizes: KernelSizes

    def queries(self, tensor: Tensor) -> Argument:
        """These heads of queries, or of what belongs to them."""
        return _with_strides(tensor[:, self.heads.queries.start : self.heads.queries.stop])

    def keys(self, tensor: Tensor) -> Argument:
        """These heads of keys or values, or of their gradients."""
        return _with_strides(tensor[:, self.heads.keys.start : self.heads.keys.stop])

    def with_tile(self, tile: TritonTile, *, adds: bool = False) -> _Launch:
        """The same with the sizes of another kernel."""
        return replace(self, sizes=replace(self.sizes, tile=tile, adds=adds))

    def run(self, kernel: Any, tokens: int, size: int, rows: int, arguments: Argument) -> None:
        """Run a kernel: a program for each block of that size of the tokens of each row."""
        tile = self.sizes.tile
        grid = (-(-tokens // size) * rows,)
        kernel[grid](
            *arguments,
            sizes=self.sizes,
            num_warps=tile.warps,
            num_stages=tile.stages,
            enable_fp_fusion=True,
        )


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
    """Output and log-sum-exp: see `attnprof.nn.banded.attention.forward`."""
    output = empty_bshd(query, value.shape[3]) if output is None else output
    written = contiguous_last_dim(output)
    query, key, value = map(contiguous_last_dim, (query, key, value))
    log_sum_exp = query.new_empty(query.shape[:3], dtype=torch.float32)
    for launch in _launches(query, key, value, key_padding_mask, band, scale):
        _attend(launch, query, key, value, written, log_sum_exp)
    if written is not output:
        output.copy_(written)
    if global_rows is not None:
        set_global_rows(output, log_sum_exp, global_rows, band)
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
    """The gradients of query, key and value: see `attnprof.nn.banded.attention.backward`."""
    grad_output, query, key, value = map(contiguous_last_dim, (grad_output, query, key, value))
    groups = head_groups(band.dilation, key.shape[1])
    # Query heads of several dilations may share a head of keys: their gradients are added.
    is_summed = sum(len(group.keys) for group in groups) > key.shape[1]
    dtype = torch.float32 if is_summed else key.dtype
    grad_query = empty_bshd(query)
    grad_key, grad_value = (empty_bshd(tensor, dtype=dtype) for tensor in (key, value))
    if is_summed:
        grad_key.zero_()
        grad_value.zero_()
    queries = (query, grad_output, log_sum_exp, torch.empty_like(log_sum_exp))
    for launch in _launches(query, key, value, key_padding_mask, band, scale):
        _query_gradients(launch, queries, key, value, output, grad_query)
        _key_gradients(launch, queries, key, value, (grad_key, grad_value), adds=is_summed)
        _add_global_gradients(launch, queries, key, value, (grad_key, grad_value))
    return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype)


def _launches(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    band: Band,
    scale: float,
) -> Iterator[_Launch]:
    """A launch for each group of heads, with the sizes of the forward kernel."""
    seq_len, head_dim, value_dim = query.shape[2], query.shape[3], value.shape[3]
    positions = _global_positions(band, query.device)
    padded = None
    if key_padding_mask is not None:
        padded = (key_padding_mask.view(torch.uint8), *key_padding_mask.stride())
    for group in head_groups(band.dilation, key.shape[1]):
        dilation = max(1, min(group.dilation, seq_len))
        longest = -(-seq_len // dilation)
        left, right = (min(side, longest) for side in band.sides)
        yield _Launch(
            heads=group,
            band=(seq_len, dilation, left, right),
            positions=positions,
            padded=padded,
            scales=(scale, scale * _LOG2_OF_E),
            sizes=KernelSizes(
                tile=triton_tiles(head_dim, value_dim, query.dtype.itemsize).forward,
                head_dim=head_dim,
                value_dim=value_dim,
                num_globals=0 if positions is None else positions[1],
                sharing=len(group.queries) // len(group.keys),
                is_dilated=dilation > 1,
                is_causal=band.causal,
                precision=_precision(),
            ),
        )


def _precision() -> str:
    """Of products of float32 on tensor cores: that of torch's own products.

    `tf32x3` multiplies the rounded numbers and what rounding left, so that the error is close to
    that of float32.
    """
    is_rounded = torch.get_float32_matmul_precision() != "highest"
    return "tf32" if is_rounded else "tf32x3"


def _global_positions(band: Band, device: torch.device) -> Argument | None:
    """Positions of global tokens, `(batch, globals)`, -1 behind the last, and their number."""
    count = max(map(len, band.global_positions), default=0)
    if count == 0:
        return None
    rows = [positions + (-1,) * (count - len(positions)) for positions in band.global_positions]
    return torch.tensor(rows, dtype=torch.int32, device=device), count


def _with_strides(tensor: Tensor) -> Argument:
    """A tensor, whose last of four dimensions has stride 1, and the strides of the first three."""
    return (tensor, *tensor.stride()[:3])


def _attend(
    launch: _Launch,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    log_sum_exp: Tensor,
) -> None:
    """Write output and log-sum-exp of some heads."""
    heads, size = len(launch.heads.queries), launch.sizes.queries
    arguments = (
        launch.queries(query),
        (launch.keys(key), launch.keys(value), launch.padded),
        launch.queries(output),
        launch.queries(log_sum_exp),
        launch.positions,
        launch.band,
        heads,
        launch.scales[1],
    )
    launch.run(forward_kernel, query.shape[2], size, len(query) * heads, arguments)


def _query_gradients(
    launch: _Launch,
    queries: tuple[Tensor, ...],
    key: Tensor,
    value: Tensor,
    output: Tensor,
    grad_query: Tensor,
) -> None:
    """Write the gradients of some heads of queries, and the last of `queries`: the means."""
    query, heads = queries[0], len(launch.heads.queries)
    launch = launch.with_tile(_tiles(query, value).of_queries)
    arguments = (
        tuple(map(launch.queries, queries)),
        (launch.keys(key), launch.keys(value), launch.padded),
        launch.queries(contiguous_last_dim(output)),
        launch.queries(grad_query),
        launch.positions,
        launch.band,
        heads,
        *launch.scales,
    )
    size = launch.sizes.queries
    launch.run(query_gradient_kernel, query.shape[2], size, len(query) * heads, arguments)


def _key_gradients(
    launch: _Launch,
    queries: tuple[Tensor, ...],
    key: Tensor,
    value: Tensor,
    gradients: tuple[Tensor, Tensor],
    *,
    adds: bool,
) -> None:
    """Write the gradients of some heads of keys and values, or add to those that are there."""
    heads = len(launch.heads.keys)
    launch = launch.with_tile(_tiles(key, value).of_keys, adds=adds)
    arguments = (
        tuple(map(launch.queries, queries)),
        (launch.keys(key), launch.keys(value), launch.padded),
        *map(launch.keys, gradients),
        launch.band,
        heads,
        *launch.scales,
    )
    size = launch.sizes.keys
    launch.run(key_gradient_kernel, key.shape[2], size, len(key) * heads, arguments)


def _add_global_gradients(
    launch: _Launch,
    queries: tuple[Tensor, ...],
    key: Tensor,
    value: Tensor,
    gradients: tuple[Tensor, Tensor],
) -> None:
    """Add the gradients of the global keys and values of some heads outside the band."""
    if launch.positions is None:
        return
    (positions, count), (batch, _, seq_len, _) = launch.positions, key.shape
    heads = len(launch.heads.keys)
    launch = launch.with_tile(_tiles(key, value).of_keys)
    parts = -(-seq_len // QUERIES_PER_PARTIAL_SUM)
    partial = [
        key.new_empty((batch * parts, heads, count, tensor.shape[3]), dtype=torch.float32)
        for tensor in (key, value)
    ]
    arguments = (
        tuple(map(launch.queries, queries)),
        (launch.keys(key), launch.keys(value), launch.padded),
        *map(_with_strides, partial),
        launch.positions,
        launch.band,
        heads,
        *launch.scales,
    )
    rows = batch * parts * heads
    launch.run(global_gradient_kernel, count, launch.sizes.globals, rows, arguments)
    index = positions.clamp(min=0).to(torch.int64)[:, None, :, None]
    of_heads = slice(launch.heads.keys.start, launch.heads.keys.stop)
    for gradient, of_parts in zip(gradients, partial, strict=True):
        added = of_parts.unflatten(0, (batch, parts)).sum(1)
        # Behind the last token of a sequence, 0 is added to position 0.
        gradient[:, of_heads].scatter_add_(2, index.expand(added.shape), added.to(gradient.dtype))


def _tiles(query: Tensor, value: Tensor) -> Any:
    return triton_tiles(query.shape[3], value.shape[3], query.dtype.itemsize)
