"""Memory inside the operators of attention.

Sources, in torch's aten/src/ATen/native: cpu/FlashAttentionKernel.cpp, transformers/attention.cpp
and transformers/transformer.cpp.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attnprof.core.sdpa_buffers import backward_buffer_bytes, forward_buffer_bytes
from attnprof.core.workload import dtype_name
from attnprof.counting.buffers.bounds import UNKNOWN_BYTES, Formula, InnerBytes, bytes_of, is_on_cpu
from attnprof.counting.buffers.onednn import packed_bytes

_aten = torch.ops.aten


def _fused_on_cpu(query: Tensor, key: Tensor, **_: Any) -> int:
    batch, heads, queries, head_dim = query.shape
    return forward_buffer_bytes(batch * heads, queries, key.shape[2], head_dim, dtype_name(query))


def _fused_on_cpu_backward(grad_out: Tensor, query: Tensor, key: Tensor, **_: Any) -> InnerBytes:
    """It reads the gradient as `(batch, queries, heads, head_dim)` without gaps."""
    copied = 0 if grad_out.transpose(1, 2).is_contiguous() else bytes_of(grad_out)
    blocks = backward_buffer_bytes(query.shape[2], key.shape[2], dtype_name(query))
    return InnerBytes(copied + blocks, copied + blocks + packed_bytes(query, blocks))


def _safe_softmax(self: Tensor, dim: int, **_: Any) -> int:
    """Which numbers are -inf, and which rows are so throughout, each a byte; and a zero."""
    rows = self.numel() // self.shape[dim] if self.numel() else 0
    return self.numel() + rows + self.itemsize


def _native_attention(
    query: Tensor, key: Tensor, value: Tensor, need_weights: bool, **arguments: Any
) -> InnerBytes | int:
    if not _is_padded_on_cpu(query, key, value):
        return UNKNOWN_BYTES
    output = bytes_of(query)
    average = arguments["average_attn_weights"]
    weights = _scores_bytes(query, key, arguments["num_head"]) if need_weights else 0
    returned = output + (weights // arguments["num_head"] if average else weights)
    peak = _native_attention_peak(query, key, value, need_weights=need_weights, **arguments)
    least = peak - (returned if need_weights else output)
    return InnerBytes(least, least + packed_bytes(query, peak))


def _scores_bytes(query: Tensor, key: Tensor, heads: int) -> int:
    return query.shape[0] * heads * query.shape[1] * key.shape[1] * query.itemsize


def _is_padded_on_cpu(*tensors: Tensor) -> bool:
    return all(is_on_cpu(tensor) and not tensor.is_nested for tensor in tensors)


def _native_attention_peak(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_head: int,
    *,
    need_weights: bool,
    average_attn_weights: bool,
    mask: Tensor | None = None,
    **_: Any,
) -> int:
    """The peak of the whole call, outputs included.

    Queries, keys and values of all heads live to the end; the context takes the queries' place.
    Scores are normalised in place, or into a second tensor where there is a mask.
    """
    projections = bytes_of(query) + bytes_of(key) + bytes_of(value)
    scores = _scores_bytes(query, key, num_head)
    output = bytes_of(query)
    joined = 2 * (projections if key is not query else 0)  # of parts that are projected one by one
    stages = [joined or 2 * projections, 2 * projections, projections + scores]
    if mask is not None:
        as_bools = 0 if mask.dtype is torch.bool else mask.numel()
        stages.append(projections + 2 * scores + as_bools)
    kept = scores if need_weights else 0
    stages.append(projections + kept + 2 * output)
    if need_weights and average_attn_weights:
        stages.append(projections + scores + output + scores // num_head)
    return max(stages)


def _encoder_layer(
    src: Tensor,
    num_heads: int,
    norm_first: bool,
    ffn_weight_1: Tensor,
    mask: Tensor | None = None,
    **_: Any,
) -> InnerBytes | int:
    """Attention, and twice a layer norm around the feed-forward, each into a tensor of its own."""
    if not _is_padded_on_cpu(src):
        return UNKNOWN_BYTES
    one = bytes_of(src)
    rows = src.shape[0] * src.shape[1]
    statistics = 2 * rows * src.itemsize
    hidden = rows * ffn_weight_1.shape[0] * src.itemsize
    attention = _native_attention_peak(
        src,
        src,
        src,
        num_heads,
        need_weights=False,
        average_attn_weights=False,
        mask=mask,
    )
    if norm_first:
        stages = [one + attention, 2 * one + statistics, 3 * one + hidden]
    else:
        stages = [attention, 2 * one + hidden, 3 * one + statistics]
    least = max(stages) - one
    return InnerBytes(least, least + packed_bytes(src, max(stages) + bytes_of(ffn_weight_1)))


BUFFERS: dict[Any, Formula] = {
    _aten._scaled_dot_product_flash_attention_for_cpu: _fused_on_cpu,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _fused_on_cpu_backward,
    _aten._safe_softmax: _safe_softmax,
    _aten._native_multi_head_attention: _native_attention,
    _aten._transformer_encoder_layer_fwd: _encoder_layer,
}
