"""MACs and inner buffers of attnprof's banded attention where it runs as a single operator.

It does so when it is traced and on fake tensors, and always if Triton kernels compute it. On real
tensors it otherwise is a loop over tiles, and the operators of each tile are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from attnprof.core.workload import dtype_name
from attnprof.nn.banded.autograd import OPERATORS
from attnprof.nn.banded.memory import BandedShape, backward_tiles_bytes, forward_tiles_bytes
from attnprof.nn.banded.tile_kernels import accumulate_type, is_fused
from attnprof.nn.banded.tiling import (
    TileSizes,
    fused_backward_tile_sizes,
    fused_forward_tile_sizes,
    matmul_tile_sizes,
    scores,
)
from attnprof.nn.banded.triton_costs import TritonShape


def _pairs(
    query: Tensor,
    tiles: TileSizes,
    sides: Sequence[int],
    dilation: Sequence[int],
    num_globals: int,
) -> int:
    """Pairs of queries and keys in all tiles, and in the columns of global tokens.

    `query` is `(batch, heads, seq_len, head_dim)`; `dilation` has one value per head.
    """
    batch, heads, seq_len, _ = query.shape
    left, right = sides
    in_tiles = sum(
        count * scores(seq_len, (left, right), stride, tiles)
        for stride, count in Counter(dilation).items()
    )
    return batch * in_tiles + heads * seq_len * num_globals


def _forward(
    query: Tensor,
    value: Tensor,
    sides: Sequence[int],
    dilation: Sequence[int],
    positions: Sequence[int],
    dropout_p: float = 0.0,
    **_: Any,
) -> int:
    left, right = sides
    tiles = (
        fused_forward_tile_sizes(query.dtype.itemsize)
        if is_fused(query, value, dropout_p)
        else matmul_tile_sizes((left, right), query.device.type == "cpu")
    )
    pairs = _pairs(query, tiles, sides, dilation, len(positions))
    return pairs * (query.shape[3] + value.shape[3])


def _backward(
    query: Tensor,
    value: Tensor,
    sides: Sequence[int],
    dilation: Sequence[int],
    positions: Sequence[int],
    dropout_p: float,
    **_: Any,
) -> int:
    """The scores again and their two gradients; the two gradients of the context."""
    left, right = sides
    tiles = (
        fused_backward_tile_sizes(query.dtype.itemsize, (left, right))
        if is_fused(query, value, dropout_p)
        else matmul_tile_sizes((left, right), query.device.type == "cpu")
    )
    pairs = _pairs(query, tiles, sides, dilation, len(positions))
    return pairs * (3 * query.shape[3] + 2 * value.shape[3])


def _triton_shape(named: Mapping[str, Any]) -> TritonShape:
    """Sizes of a call that Triton kernels compute, from the operator's arguments by name."""
    query, key, (left, right) = named["query"], named["key"], named["sides"]
    batch, _, seq_len, head_dim = query.shape
    return TritonShape(
        batch=batch,
        seq_len=seq_len,
        kv_heads=key.shape[1],
        head_dim=head_dim,
        value_dim=named["value"].shape[3],
        dtype_bytes=query.dtype.itemsize,
        sides=(left, right),
        dilation=tuple(named["dilation"]),
        num_globals=max(named["counts"], default=0),
    )


def _or_triton(
    of_tiles: Callable[..., int], of_triton: Callable[[TritonShape], int]
) -> Callable[..., int]:
    """A formula that chooses by the operator's argument `implementation`."""

    def formula(**named: Any) -> int:
        if named["implementation"] == "triton":
            return of_triton(_triton_shape(named))
        return of_tiles(**named)

    return formula


_of_forward = _or_triton(_forward, lambda shape: shape.forward_macs)
_of_backward = _or_triton(_backward, lambda shape: shape.backward_macs)

FORMULAS = dict(zip(OPERATORS, (_of_forward, _of_forward, _of_backward), strict=True))


def _shape(
    query: Tensor,
    key: Tensor,
    sides: Sequence[int],
    dilation: Sequence[int],
    counts: Sequence[int],
) -> BandedShape:
    left, right = sides
    return BandedShape(
        seq_len=query.shape[2],
        kv_heads=key.shape[1],
        head_dim=query.shape[3],
        value_dim=query.shape[3],
        dtype=dtype_name(query),
        sides=(left, right),
        dilation=tuple(dilation),
        num_globals=max(counts, default=0),
    )


def _forward_buffers(
    query: Tensor,
    key: Tensor,
    sides: Sequence[int],
    dilation: Sequence[int],
    counts: Sequence[int],
    **_: Any,
) -> int:
    return forward_tiles_bytes(_shape(query, key, sides, dilation, counts))


def _backward_buffers(
    query: Tensor,
    key: Tensor,
    sides: Sequence[int],
    dilation: Sequence[int],
    counts: Sequence[int],
    **_: Any,
) -> int:
    """Half-precision gradients are summed in a wider type and converted at the end."""
    shape = _shape(query, key, sides, dilation, counts)
    gradient = key.numel() * shape.dtype_bytes
    accumulated = key.numel() * shape.accumulator_bytes
    converted = 2 * gradient if accumulated > gradient else 0
    return 2 * (accumulated - gradient) + max(backward_tiles_bytes(shape), converted)


def _with_log_sum_exp(**named: Any) -> int:
    """Inner buffers of the operator that writes to the query, and does not return the sums."""
    query = named["query"]
    log_sum_exp = query.shape[:3].numel() * accumulate_type(query).itemsize
    return log_sum_exp + _of_forward_buffers(**named)


_of_forward_buffers = _or_triton(_forward_buffers, lambda shape: shape.forward_bytes)
_of_backward_buffers = _or_triton(_backward_buffers, lambda shape: shape.backward_bytes)

BUFFERS = dict(
    zip(OPERATORS, (_of_forward_buffers, _with_log_sum_exp, _of_backward_buffers), strict=True)
)
