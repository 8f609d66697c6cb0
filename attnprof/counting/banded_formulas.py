"""Costs of attnprof's own attention where it is one operator: traced, or without numbers.

Run for real it is walked tile by tile, and each tile's operator is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor

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

_FORWARD_PRODUCTS = 2
_BACKWARD_PRODUCTS = 5
"""The scores once more, and the gradients of weights, values, queries and keys."""


def _macs(
    query: Tensor, cut: TileSizes, window: int, dilation: Sequence[int], globals_: int
) -> int:
    """MACs of one product over all tiles, and over the columns of global tokens."""
    batch, heads, seq_len, head_dim = query.shape
    in_tiles = sum(
        count * scores(seq_len, window, stride, cut) for stride, count in Counter(dilation).items()
    )
    return (batch * in_tiles + heads * seq_len * globals_) * head_dim


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
    cut = (
        fused_forward_tile_sizes(query.dtype.itemsize)
        if _is_fused(query, dropout_p)
        else matmul_tile_sizes(window, query.device.type == "cpu")
    )
    return _FORWARD_PRODUCTS * _macs(query, cut, window, dilation, len(positions))


def _backward(
    query: Tensor,
    window: int,
    dilation: Sequence[int],
    positions: Sequence[int],
    dropout_p: float,
    **_: Any,
) -> int:
    cut = (
        fused_backward_tile_sizes(query.dtype.itemsize, window)
        if _is_fused(query, dropout_p)
        else matmul_tile_sizes(window, query.device.type == "cpu")
    )
    return _BACKWARD_PRODUCTS * _macs(query, cut, window, dilation, len(positions))


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
    """The log-sum-exp too, which is no output."""
    shape = _shape(query, window, dilation, counts)
    log_sum_exp = query.shape[:3].numel() * shape.accumulator_bytes
    return log_sum_exp + forward_tiles_bytes(shape)


def _backward_buffers(
    query: Tensor, window: int, dilation: Sequence[int], counts: Sequence[int], **_: Any
) -> int:
    """Sums of half precisions are wider than the gradients that they are converted to."""
    shape = _shape(query, window, dilation, counts)
    gradient, total = (query.numel() * n for n in (shape.dtype_bytes, shape.accumulator_bytes))
    converted = 2 * gradient if total > gradient else 0
    return 2 * (total - gradient) + max(backward_tiles_bytes(shape), converted)


BUFFERS = dict(
    zip(OPERATORS, (_forward_buffers, _in_place_buffers, _backward_buffers), strict=True)
)
