"""MACs of whole layers that torch runs as one operator: encoder layers, attention, RNNs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils._mode_utils import no_dispatch

from attnprof.core.formulas import FORWARD_PRODUCTS
from attnprof.counting.aten_operators import aten_operators

_GRADIENTS = 2
"""Gradients of inputs and of weights: each takes as many MACs as the forward pass."""


def _native_multi_head_attention(
    query: Tensor, key: Tensor, value: Tensor, embed_dim: int, **_: Any
) -> int | None:
    """Four projections and two products over all pairs; tensors `(batch, seq_len, embed_dim)`.

    In a nested tensor only the tokens that exist are projected, but every sequence has scores as
    if it were as long as the longest. Source: aten/src/ATen/native/transformers/attention.cpp.
    """
    if query.is_nested:
        lengths = _sequence_lengths(query)
        if lengths is None or query is not key or key is not value:
            return None
        pairs = len(lengths) * max(lengths, default=0) ** 2
        return 4 * sum(lengths) * embed_dim**2 + FORWARD_PRODUCTS * pairs * embed_dim
    batch, queries, _hidden = query.shape
    keys = key.shape[1]
    projections = 2 * (queries + keys) * embed_dim**2
    return batch * (projections + FORWARD_PRODUCTS * queries * keys * embed_dim)


def _transformer_encoder_layer(
    src: Tensor, embed_dim: int, ffn_weight_1: Tensor, ffn_weight_2: Tensor, **_: Any
) -> int | None:
    """Attention and both linear layers of the feed-forward; `src` is `(batch, seq_len, width)`."""
    attention = _native_multi_head_attention(src, src, src, embed_dim)
    tokens = sum(_sequence_lengths(src) or ()) if src.is_nested else src.shape[0] * src.shape[1]
    feed_forward = tokens * (ffn_weight_1.numel() + ffn_weight_2.numel())
    return None if attention is None else attention + feed_forward


def _sequence_lengths(nested: Tensor) -> list[int] | None:
    """The lengths in a nested tensor; None on CUDA, where torch may pick a kernel that pads."""
    if nested.device.type != "cpu":
        return None
    with no_dispatch():
        return [int(size[0]) for size in nested._nested_tensor_size()]


def _mkldnn_rnn_layer(input: Tensor, weight0: Tensor, weight1: Tensor, **_: Any) -> int:
    """Both weight matrices at every step of every sequence."""
    return input.shape[0] * input.shape[1] * (weight0.numel() + weight1.numel())


def _mkldnn_rnn_layer_backward(input: Tensor, weight1: Tensor, weight2: Tensor, **_: Any) -> int:
    """The gradients of weights and states, including that of the initial state."""
    return _GRADIENTS * _mkldnn_rnn_layer(input, weight1, weight2)


def _cudnn_rnn(input: Tensor, weight: Sequence[Tensor], **_: Any) -> int:
    """All matrices of all layers and directions at every step; input `(steps, rows, width)`.

    The input of packed sequences is `(steps of all sequences, width)`.
    """
    steps = input.shape[:-1].numel()
    return steps * sum(tensor.numel() for tensor in weight if tensor.dim() == 2)


def _cudnn_rnn_backward(input: Tensor, weight: Sequence[Tensor], **_: Any) -> int:
    return _GRADIENTS * _cudnn_rnn(input, weight)


FORMULAS: dict[Any, Callable[..., int | None]] = {
    **dict.fromkeys(aten_operators("_native_multi_head_attention"), _native_multi_head_attention),
    **dict.fromkeys(aten_operators("_transformer_encoder_layer_fwd"), _transformer_encoder_layer),
    **dict.fromkeys(aten_operators("mkldnn_rnn_layer"), _mkldnn_rnn_layer),
    **dict.fromkeys(aten_operators("mkldnn_rnn_layer_backward"), _mkldnn_rnn_layer_backward),
    **dict.fromkeys(aten_operators("_cudnn_rnn miopen_rnn"), _cudnn_rnn),
    **dict.fromkeys(aten_operators("_cudnn_rnn_backward miopen_rnn_backward"), _cudnn_rnn_backward),
}
