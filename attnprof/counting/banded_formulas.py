"""MACs and inner buffers of attnprof's banded attention where it runs as a single operator.

It does so when it is traced and on fake tensors. On real tensors it is a loop over tiles, and the
operators of each tile are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from attnprof.core.formulas import BACKWARD_PRODUCTS, FORWARD_PRODUCTS
from attnprof.core.workload import dtype_name
from attnprof.nn.banded.autograd import OPERATORS
from attnprof.nn.banded.memory import BandedShape, backward_tiles_bytes, forward_tiles_bytes
from attnprof.nn.banded.tiling import (
    TileSizes,
    fused_backward_tile_sizes,
    fused_forward_tile_sizes,
    matmul_tile_sizes,
    scores,
)


def _product_macs(
    query: Tensor, tiles: TileSizes, window: int, dilation: Sequence[int], num_globals: int
) -> int:
    """MACs of one product over all tiles, and over the columns of global tokens.

    `query` is `(batch, heads, seq_len, head_dim)`; `dilation` has one value per head.
    """
    batch, heads, seq_len, head_dim = query.shape
    in_tiles = sum(
        count * scores(seq_len, window, stride, tiles)
        for stride, count in Counter(dilation).items()
    )
    return (batch * in_tiles + heads * seq_len * num_globals) * head_dim


def _is_fused(query: Tensor, dropout_p: float) -> bool:
    return query.device.type in ("cpu", "meta") and dropout_p == 0.0


def _forward(
    query: Tensor,
    window: int,
    dilation: Sequence[int],
    positions: Sequence[int],
    dropout_p: float = 0.0,
    **_: Any,
) -> int:
    tiles = (
        fused_forward_tile_sizes(query.dtype.itemsize)
        if _is_fused(query, dropout_p)
        else matmul_tile_sizes(window, query.device.type == "cpu")
    )
    return FORWARD_PRODUCTS * _product_macs(query, tiles, window, dilation, len(positions))


def _backward(
    query: Tensor,
    window: int,
    dilation: Sequence[int],
    positions: Sequence[int],
    dropout_p: float,
    **_: Any,
) -> int:
    tiles = (
        fused_backward_tile_sizes(query.dtype.itemsize, window)
        if _is_fused(query, dropout_p)
        else matmul_tile_sizes(window, query.device.type == "cpu")
    )
    return BACKWARD_PRODUCTS * _product_macs(query, tiles, window, dilation, len(positions))


FORMULAS = dict(zip(OPERATORS, (_forward, _forward, _backward), strict=True))


def _shape(
    query: Tensor, window: int, dilation: Sequence[int], counts: Sequence[int]
) -> BandedShape:
    return BandedShape(
        seq_len=query.shape[2],
        head_dim=query.shape[3],
        dtype=dtype_name(query),
        window=window,
        dilation=tuple(dilation),
        num_globals=max(counts, default=0),
    )


def _forward_buffers(
    query: Tensor, window: int, dilation: Sequence[int], counts: Sequence[int], **_: Any
) -> int:
    return forward_tiles_bytes(_shape(query, window, dilation, counts))


def _in_place_buffers(
    query: Tensor, window: int, dilation: Sequence[int], counts: Sequence[int], **_: Any
) -> int:
    """Includes the log-sum-exp, which this operator does not return."""
    shape = _shape(query, window, dilation, counts)
    log_sum_exp = query.shape[:3].numel() * shape.accumulator_bytes
    return log_sum_exp + forward_tiles_bytes(shape)


def _backward_buffers(
    query: Tensor, window: int, dilation: Sequence[int], counts: Sequence[int], **_: Any
) -> int:
    """Half-precision gradients are summed in a wider type and converted at the end."""
    shape = _shape(query, window, dilation, counts)
    gradient = query.numel() * shape.dtype_bytes
    accumulated = query.numel() * shape.accumulator_bytes
    converted = 2 * gradient if accumulated > gradient else 0
    return 2 * (accumulated - gradient) + max(backward_tiles_bytes(shape), converted)


BUFFERS = dict(
    zip(OPERATORS, (_forward_buffers, _in_place_buffers, _backward_buffers), strict=True)
)
