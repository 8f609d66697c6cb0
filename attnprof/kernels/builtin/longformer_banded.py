"""attnprof's `LongformerSelfAttention`: every sparse pattern in linear time and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from attnprof.core import formulas
from attnprof.core.blocks import BlockRun, ComputedBlocks, columns_of, rows_of
from attnprof.core.formulas import should_absorb_projection
from attnprof.core.mac_terms import Factor, MacTerm, Part, total_macs
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._banded_memory import layer_memory
from attnprof.kernels.builtin._build import build_call, no_padding
from attnprof.kernels.builtin._features import unsupported_feature
from attnprof.kernels.builtin._mac_factors import (
    backward_products,
    computed_scores,
    fused_backward_products,
    fused_products,
    global_term,
)
from attnprof.kernels.builtin._memory import parameter_and_input_bytes, stack_peak_bytes
from attnprof.nn.banded.tiling import (
    TileSizes,
    block_runs,
    fused_backward_tile_sizes,
    fused_forward_tile_sizes,
    matmul_tile_sizes,
    scores,
)

if TYPE_CHECKING:
    import torch

name = "longformer-banded"
summary = "any pattern; attnprof's LongformerSelfAttention: linear, trainable"
source = "Longformer, arXiv 2004.05150, section 3.1; attnprof/nn/banded/tiling.py"
pattern_support: Literal["dense", "pattern"] = "pattern"
ptflops_misses = "fused attention"
needs_compilation = False
has_float32_softmax = False

padding_multiple = no_padding

_PROJECTION_SETS = 2


def unsupported_reason(workload: Workload) -> str | None:
    """Supports every sparse pattern."""
    if any(layer.is_dense for layer in workload.layers):
        return "computes a sliding window, not dense attention"
    return unsupported_feature(workload)


def parameters(workload: Workload) -> int:
    """Parameters of six projections per layer, as in transformers' class."""
    return formulas.parameters(workload, len(workload.layers) * _PROJECTION_SETS)


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


def mac_terms(workload: Workload) -> list[MacTerm]:
    """Projections, tiles of the band, global columns and global rows."""
    return [
        *formulas.projection_terms(workload),
        *_tile_terms(workload),
        *global_term(workload, "global keys", fused_products(workload)),
        *_global_query_terms(workload),
        *formulas.rest_of_layer_terms(workload),
    ]


def executed_macs(workload: Workload) -> int:
    """The sum of `mac_terms`."""
    return total_macs(mac_terms(workload))


def _tile_terms(workload: Workload) -> list[MacTerm]:
    """Scores and context in tiles; the backward pass has tiles and products of its own."""
    terms: list[MacTerm] = []
    for layer, layers, suffix in formulas.layer_groups(workload):
        for when, tiles, of_scores, of_context in _passes(workload, layer):
            factors = computed_scores(workload, _scores_in_tiles(workload, layer, tiles))
            products: tuple[tuple[Part, int], ...] = (
                ("scores", of_scores),
                ("context", of_context),
            )
            for part, passes in products:
                name = f"{part}{when}{suffix}"
                terms.append(
                    formulas.term(workload, part, name, factors, passes=passes, layers=layers)
                )
    return terms


def _passes(
    workload: Workload, layer: AttentionPattern
) -> Iterator[tuple[str, TileSizes, int, int]]:
    """Each pass by name, with its tiles, and how often it multiplies scores and context."""
    yield "", _forward_tiles(workload, layer), 1, 1
    if workload.mode == "training":
        # The scores again and their two gradients; the two gradients of the context.
        yield ", backward", _backward_tiles(workload, layer), 3, 2


def _scores_in_tiles(workload: Workload, layer: AttentionPattern, tiles: TileSizes) -> int:
    """Scores of all heads of one sequence, masked ones included."""
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


def _global_query_terms(workload: Workload) -> list[MacTerm]:
    """The queries' projection, and keys and values projected or absorbed."""
    n, g = formulas.tokens(workload), formulas.num_globals(workload)
    if g == 0:
        return []
    width, squared = Factor("D", workload.hidden_size), Factor("D", workload.hidden_size, 2)
    num, heads = Factor("g", g), Factor("H", workload.num_heads)

    def term(name: str, *factors: Factor | int) -> MacTerm:
        return formulas.term(workload, "global_tokens", name, factors)

    if should_absorb_projection(n.base, width.base, heads.base, g):
        return [
            term("absorbed projection", 3, num, squared),
            term("global queries", 2, num, heads, n, width),
        ]
    return [
        *formulas.global_projection_terms(workload),
        *global_term(workload, "global queries", fused_products(workload)),
    ]


def blocks(workload: Workload, layer: AttentionPattern, head: int) -> tuple[ComputedBlocks, ...]:
    """Tiles of the band in both passes, global columns, and global rows."""
    n, width, positions = workload.seq_len, workload.head_dim, layer.global_positions

    def tiles(sizes: TileSizes) -> tuple[BlockRun, ...]:
        return tuple(block_runs(n, layer.window or 0, layer.dilation[head], sizes))

    backward = fused_backward_products(workload)
    computed = [ComputedBlocks(runs=tiles(_forward_tiles(workload, layer)), features=width)]
    if backward:
        computed.append(
            ComputedBlocks(
                runs=tiles(_backward_tiles(workload, layer)),
                scores=0,
                context=0,
                backward=backward,
                features=width,
            )
        )
    if positions:
        is_absorbed = should_absorb_projection(
            n, workload.hidden_size, workload.num_heads, len(positions)
        )
        computed += [
            ComputedBlocks(runs=columns_of(positions, n), backward=backward, features=width),
            ComputedBlocks(
                runs=rows_of(positions, n),
                backward=backward_products(workload) if is_absorbed else backward,
                features=workload.hidden_size if is_absorbed else width,
            ),
        ]
    return tuple(computed)


def static_bytes(workload: Workload) -> int:
    """Bytes of parameters and hidden states."""
    return parameter_and_input_bytes(workload, parameters(workload))


def peak_bytes(workload: Workload) -> int:
    """Peak bytes: query, key and value; in inference the output overwrites the query."""
    return stack_peak_bytes(workload, layer_memory)
