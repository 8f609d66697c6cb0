"""attnprof's own: `attnprof.LongformerSelfAttention`, every sparse pattern in linear time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from attnprof.core import formulas
from attnprof.core.formulas import absorbed_global_macs, should_absorb_projection
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._banded_memory import layer_memory
from attnprof.kernels.builtin._build import build_call
from attnprof.kernels.builtin._memory import activation_bytes, stack_peak_bytes
from attnprof.nn.banded.tiling import (
    TileSizes,
    fused_backward_tile_sizes,
    fused_forward_tile_sizes,
    matmul_tile_sizes,
    scores,
)

if TYPE_CHECKING:
    import torch

name = "longformer-banded"
summary = "any pattern; attnprof's LongformerSelfAttention: linear, trainable"
pattern_support: Literal["dense", "pattern"] = "pattern"
ptflops_misses = "fused attention"
needs_compilation = False
has_float32_softmax = False

_PROJECTIONS = 6
_FORWARD_PRODUCTS = 2
_BACKWARD_PRODUCTS = 5
"""The scores once more, and the gradients of weights, values, queries and keys."""


def unsupported_reason(workload: Workload) -> str | None:
    """Every sparse pattern."""
    if any(layer.is_dense for layer in workload.layers):
        return "computes a sliding window, not dense attention"
    return None


def padding_multiple(workload: Workload) -> int:
    """Pads nothing."""
    return 1


def parameters(workload: Workload) -> int:
    """Six projections a layer, as transformers' class has them."""
    return formulas.parameters(workload, len(workload.layers) * _PROJECTIONS)


def build(workload: Workload) -> Call:
    """`LongformerSelfAttention` with the pattern's window and dilations; no dropout."""
    from transformers import LongformerConfig

    from attnprof.nn.longformer import LongformerSelfAttention

    config = LongformerConfig(
        hidden_size=workload.hidden_size,
        num_attention_heads=workload.num_heads,
        num_hidden_layers=len(workload.layers),
        attention_window=[layer.window or 0 for layer in workload.layers],
        attention_probs_dropout_prob=0.0,
    )

    def make_layer(index: int, layer: AttentionPattern) -> Any:
        attention = LongformerSelfAttention(config, index, dilation=layer.dilation)
        attention.ignores_hooks = True  # here they are a counter's
        return attention

    def make_kwargs(hidden_states: torch.Tensor) -> dict[str, Any]:
        return {"global_positions": workload.layers[0].global_positions}

    return build_call(workload, workload.seq_len, make_layer, make_kwargs)


def executed_macs(workload: Workload) -> int:
    """Projections, tiles of the band, global columns, and the global rows."""
    return sum(
        count * _layer_macs(workload, layer) for layer, count in Counter(workload.layers).items()
    )


def _layer_macs(workload: Workload, layer: AttentionPattern) -> int:
    training = workload.mode == "training"
    plain = formulas.TRAINING_FACTOR if training else 1
    n, width = workload.seq_len, workload.hidden_size
    band = _FORWARD_PRODUCTS * _scores(workload, layer, _forward_cut(workload, layer))
    if training:
        band += _BACKWARD_PRODUCTS * _scores(workload, layer, _backward_cut(workload, layer))
    projections = plain * 3 * n * width**2
    attention = workload.batch_size * (
        projections + band * workload.head_dim + _global_rows_macs(workload, layer)
    )
    return attention + plain * formulas.rest_of_layer_macs(workload)


def _scores(workload: Workload, layer: AttentionPattern, cut: TileSizes) -> int:
    """Scores of one sequence, masked ones included: in tiles, and of the global columns."""
    in_tiles = sum(
        heads * scores(workload.seq_len, layer.window or 0, dilation, cut)
        for dilation, heads in Counter(layer.dilation).items()
    )
    return in_tiles + workload.num_heads * workload.seq_len * len(layer.global_positions)


def _forward_cut(workload: Workload, layer: AttentionPattern) -> TileSizes:
    if workload.device == "cpu":
        return fused_forward_tile_sizes(workload.dtype_bytes)
    return matmul_tile_sizes(layer.window or 0, on_cpu=False)


def _backward_cut(workload: Workload, layer: AttentionPattern) -> TileSizes:
    if workload.device == "cpu":
        return fused_backward_tile_sizes(workload.dtype_bytes, layer.window or 0)
    return matmul_tile_sizes(layer.window or 0, on_cpu=False)


def _global_rows_macs(workload: Workload, layer: AttentionPattern) -> int:
    """Of one sequence: the queries' projection, and keys and values projected or absorbed."""
    n, width, g = workload.seq_len, workload.hidden_size, len(layer.global_positions)
    if g == 0:
        return 0
    training = workload.mode == "training"
    plain = formulas.TRAINING_FACTOR if training else 1
    queries = plain * g * width**2
    if should_absorb_projection(n, width, workload.num_heads, g):
        return queries + plain * absorbed_global_macs(n, width, workload.num_heads, g)
    fused = _FORWARD_PRODUCTS + (_BACKWARD_PRODUCTS if training else 0)
    return queries + plain * 2 * n * width**2 + fused * g * n * width


def static_bytes(workload: Workload) -> int:
    """Parameters and hidden states."""
    return parameters(workload) * workload.dtype_bytes + activation_bytes(
        workload, workload.seq_len
    )


def peak_bytes(workload: Workload) -> int:
    """Query, key and value, in inference with the output in the place of the query."""
    return stack_peak_bytes(workload, workload.seq_len, layer_memory)
