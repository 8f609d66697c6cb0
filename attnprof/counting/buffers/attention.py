"""Memory inside attention operators.

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
    """The gradient must be contiguous as `(batch, queries, heads, head_dim)`, else it is copied."""
    copied = 0 if grad_out.transpose(1, 2).is_contiguous() else bytes_of(grad_out)
    blocks = backward_buffer_bytes(query.shape[2], key.shape[2], dtype_name(query))
    return InnerBytes(copied + blocks, copied + blocks + packed_bytes(query, blocks))


def _safe_softmax(self: Tensor, dim: int, **_: Any) -> int:
    """A byte per element (is it -inf?) and per row (is all of it -inf?), and one scalar zero."""
    rows = self.numel() // self.shape[dim] if self.numel() else 0
    return self.numel() + rows + self.itemsize


def _native_attention(
    query: Tensor, key: Tensor, value: Tensor, need_weights: bool, **arguments: Any
) -> InnerBytes | int:
    if not _is_padded_on_cpu(query, key, value):
        return UNKNOWN_BYTES
    returned = bytes_of(query)
    if need_weights:
        weights = _scores_bytes(query, key, arguments["num_head"])
        is_averaged = arguments["average_attn_weights"]
        returned += weights // arguments["num_head"] if is_averaged else weights
    peak = _native_attention_peak(query, key, value, need_weights=need_weights, **arguments)
    inside = peak - returned
    return InnerBytes(inside, inside + packed_bytes(query, peak))


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
    """Peak bytes of the call, outputs included.

    Tensors are `(batch, seq_len, embed_dim)`. The queries, keys and values of all heads live to the
    end; the context overwrites the queries. The softmax of the scores is in place, or a second
    tensor if there is a mask.
    """
    projections = bytes_of(query) + bytes_of(key) + bytes_of(value)
    scores = _scores_bytes(query, key, num_head)
    output = bytes_of(query)
    stages = [2 * projections, projections + scores]
    if mask is not None:
        as_bools = 0 if mask.dtype is torch.bool else mask.numel()
        stages.append(projections + 2 * scores + as_bools)
    returned_scores = scores if need_weights else 0
    stages.append(projections + returned_scores + 2 * output)
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
    """Attention, feed-forward and two layer norms, each with an output tensor of its own.

    `src` is `(batch, seq_len, embed_dim)`.
    """
    if not _is_padded_on_cpu(src):
        return UNKNOWN_BYTES
    src_bytes = bytes_of(src)
    tokens = src.shape[0] * src.shape[1]
    statistics = 2 * tokens * src.itemsize
    hidden = tokens * ffn_weight_1.shape[0] * src.itemsize
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
        stages = [src_bytes + attention, 2 * src_bytes + statistics, 3 * src_bytes + hidden]
    else:
        stages = [attention, 2 * src_bytes + hidden, 3 * src_bytes + statistics]
    inside = max(stages) - src_bytes
    return InnerBytes(inside, inside + packed_bytes(src, max(stages) + bytes_of(ffn_weight_1)))


BUFFERS: dict[Any, Formula] = {
    _aten._scaled_dot_product_flash_attention_for_cpu: _fused_on_cpu,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _fused_on_cpu_backward,
    _aten._safe_softmax: _safe_softmax,
    _aten._native_multi_head_attention: _native_attention,
    _aten._transformer_encoder_layer_fwd: _encoder_layer,
}
