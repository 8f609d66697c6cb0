"""MACs of whole layers that torch runs as one operator: encoder layers, attention, RNNs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

_ATTENTION_PRODUCTS = 2
"""Scores and context."""

_GRADIENTS = 2
"""Of what is multiplied and of the weights: each takes the products of the forward pass."""


def _native_multi_head_attention(
    query: Tensor, key: Tensor, value: Tensor, embed_dim: int, **_: Any
) -> int | None:
    """Four projections and two products over all pairs.

    Of a nested tensor's sequences the rows are projected that there are; scores are those of
    sequences as long as the longest. Source: aten/src/ATen/native/transformers/attention.cpp.
    """
    if query.is_nested:
        lengths = _lengths(query)
        if lengths is None or query is not key or key is not value:
            return None
        pairs = len(lengths) * max(lengths, default=0) ** 2
        return 4 * sum(lengths) * embed_dim**2 + _ATTENTION_PRODUCTS * pairs * embed_dim
    batch, queries, _hidden = query.shape
    keys = key.shape[1]
    projections = 2 * (queries + keys) * embed_dim**2
    return batch * (projections + _ATTENTION_PRODUCTS * queries * keys * embed_dim)


def _transformer_encoder_layer(
    src: Tensor, embed_dim: int, ffn_weight_1: Tensor, ffn_weight_2: Tensor, **_: Any
) -> int | None:
    """The attention, and both layers of the feed-forward."""
    attention = _native_multi_head_attention(src, src, src, embed_dim)
    rows = sum(_lengths(src) or ()) if src.is_nested else src.shape[0] * src.shape[1]
    feed_forward = rows * (ffn_weight_1.numel() + ffn_weight_2.numel())
    return None if attention is None else attention + feed_forward


def _lengths(nested: Tensor) -> list[int] | None:
    """Of the sequences; None on CUDA, where torch chooses among kernels that pad or do not."""
    if nested.device.type != "cpu":
        return None
    with no_dispatch():
        return [int(size[0]) for size in nested._nested_tensor_size()]


def _mkldnn_rnn_layer(input: Tensor, weight0: Tensor, weight1: Tensor, **_: Any) -> int:
    """Both matrices at every step of every sequence."""
    return input.shape[0] * input.shape[1] * (weight0.numel() + weight1.numel())


def _mkldnn_rnn_layer_backward(input: Tensor, weight1: Tensor, weight2: Tensor, **_: Any) -> int:
    """The gradients of the states and of the weights; the first state's too."""
    return _GRADIENTS * _mkldnn_rnn_layer(input, weight1, weight2)


def _cudnn_rnn(input: Tensor, weight: Sequence[Tensor], **_: Any) -> int:
    """All matrices of all layers and directions at every step; input `(steps, rows, width)`.

    Of packed sequences the input is `(steps of all sequences, width)`.
    """
    steps = input.shape[:-1].numel()
    return steps * sum(tensor.numel() for tensor in weight if tensor.dim() == 2)


def _cudnn_rnn_backward(input: Tensor, weight: Sequence[Tensor], **_: Any) -> int:
    return _GRADIENTS * _cudnn_rnn(input, weight)


_NAMED: dict[str, Callable[..., int | None]] = {
    "_native_multi_head_attention": _native_multi_head_attention,
    "_transformer_encoder_layer_fwd": _transformer_encoder_layer,
    "mkldnn_rnn_layer": _mkldnn_rnn_layer,
    "mkldnn_rnn_layer_backward": _mkldnn_rnn_layer_backward,
    "_cudnn_rnn": _cudnn_rnn,
    "_cudnn_rnn_backward": _cudnn_rnn_backward,
    "miopen_rnn": _cudnn_rnn,
    "miopen_rnn_backward": _cudnn_rnn_backward,
}

FORMULAS: dict[Any, Callable[..., int | None]] = {
    getattr(torch.ops.aten, name): formula
    for name, formula in _NAMED.items()
    if hasattr(torch.ops.aten, name)
}
"""By operator, of those that this torch has."""
