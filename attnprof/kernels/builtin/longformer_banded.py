"""attnprof's `LongformerSelfAttention`: every sparse pattern in linear time and memory."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from attnprof.core import formulas
from attnprof.core.formulas import absorbed_global_macs, should_absorb_projection
from attnprof.core.mac_parts import MacParts, sum_parts
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._banded_memory import layer_memory
from attnprof.kernels.builtin._build import build_call, no_padding
from attnprof.kernels.builtin._mac_factors import (
    context_products,
    fused_products,
    layer_parts,
    score_products,
    training_factor,
)
from attnprof.kernels.builtin._memory import parameter_and_input_bytes, stack_peak_bytes
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

padding_multiple = no_padding

_PROJECTIONS = 6


def unsupported_reason(workload: Workload) -> str | None:
    """Supports every sparse pattern."""
    if any(layer.is_dense for layer in workload.layers):
        return "computes a sliding window, not dense attention"
    return None


def parameters(workload: Workload) -> int:
    """Parameters of six projections per layer, as in transformers' class."""
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
        attention.ignores_hooks = True  # the only hooks here are a counter's
        return attention

    def make_kwargs(hidden_states: torch.Tensor) -> dict[str, Any]:
        return {"global_positions": workload.layers[0].global_positions}

    return build_call(workload, workload.seq_len, make_layer, make_kwargs)


def mac_parts(workload: Workload) -> MacParts:
    """MACs of projections, tiles of the band, global columns and global rows."""
    counted = Counter(workload.layers).items()
    return sum_parts((count, _parts_of_layer(workload, layer)) for layer, count in counted)


def _parts_of_layer(workload: Workload, layer: AttentionPattern) -> MacParts:
    product = workload.batch_size * workload.head_dim
    forward = product * _tile_scores(workload, layer, _forward_tiles(workload, layer))
    band_scores = context = forward
    if workload.mode == "training":
        backward = product * _tile_scores(workload, layer, _backward_tiles(workload, layer))
        band_scores += (score_products(workload) - 1) * backward
        context += (context_products(workload) - 1) * backward
    columns = fused_products(workload) * workload.hidden_size * workload.seq_len
    columns *= len(layer.global_positions)
    return layer_parts(
        workload,
        scores=band_scores,
        context=context,
        global_tokens=workload.batch_size * (columns + _global_rows_macs(workload, layer)),
    )


def executed_macs(workload: Workload) -> int:
    """MACs of all parts."""
    return mac_parts(workload).total


def _tile_scores(workload: Workload, layer: AttentionPattern, tiles: TileSizes) -> int:
    """Scores of one sequence in tiles, masked ones included."""
    return sum(
        heads * scores(workload.seq_len, layer.window or 0, dilation, tiles)
        for dilation, heads in Counter(layer.dilation).items()
    )


def _forward_tiles(workload: Workload, layer: AttentionPattern) -> TileSizes:
    if workload.device == "cpu":
        return fused_forward_tile_sizes(workload.dtype_bytes)
    return matmul_tile_sizes(layer.window or 0, on_cpu=False)


def _backward_tiles(workload: Workload, layer: AttentionPattern) -> TileSizes:
    if workload.device == "cpu":
        return fused_backward_tile_sizes(workload.dtype_bytes, layer.window or 0)
    return matmul_tile_sizes(layer.window or 0, on_cpu=False)


def _global_rows_macs(workload: Workload, layer: AttentionPattern) -> int:
    """MACs of one sequence: the queries' projection, and keys and values projected or absorbed."""
    n, width, g = workload.seq_len, workload.hidden_size, len(layer.global_positions)
    if g == 0:
        return 0
    factor = training_factor(workload)
    queries = factor * g * width**2
    if should_absorb_projection(n, width, workload.num_heads, g):
        return queries + factor * absorbed_global_macs(n, width, workload.num_heads, g)
    return queries + factor * 2 * n * width**2 + fused_products(workload) * g * n * width


def static_bytes(workload: Workload) -> int:
    """Bytes of parameters and hidden states."""
    return parameter_and_input_bytes(workload, parameters(workload))


def peak_bytes(workload: Workload) -> int:
    """Peak bytes: query, key and value; in inference the output overwrites the query."""
    return stack_peak_bytes(workload, layer_memory)
