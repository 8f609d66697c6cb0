"""attnprof's `LongformerSelfAttention`: every sparse pattern in linear time and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Literal

from attnprof.core import formulas
from attnprof.core.blocks import BlockRun, ComputedBlocks, columns_of
from attnprof.core.mac_terms import Factor, MacTerm, Part, total_macs
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin import _banded
from attnprof.kernels.builtin._banded import global_query_terms, global_row_blocks, layer_makers
from attnprof.kernels.builtin._banded_memory import layer_memory
from attnprof.kernels.builtin._build import build_call, no_padding
from attnprof.kernels.builtin._decoding import stack_decoding_bytes, unsupported_decoding
from attnprof.kernels.builtin._features import Feature, unsupported_feature
from attnprof.kernels.builtin._mac_factors import fused_blocks, global_pair_terms
from attnprof.kernels.builtin._memory import parameter_and_input_bytes, stack_peak_bytes
from attnprof.kernels.builtin._window_decoding import (
    build_window_decoding,
    decoded_windows,
    window_cache_bytes,
    window_cached_bytes,
    window_decoding_memory,
)
from attnprof.nn.banded.tiling import (
    TileSizes,
    block_runs,
    fused_backward_tile_sizes,
    fused_forward_tile_sizes,
    matmul_tile_sizes,
    scores,
)

name = "longformer-banded"
summary = "any pattern; attnprof's LongformerSelfAttention: linear, trainable"
source = "Longformer, arXiv 2004.05150, section 3.1; attnprof/nn/banded/tiling.py"
pattern_support: Literal["dense", "pattern"] = "pattern"
ptflops_misses = "fused attention"
needs_compilation = False
has_float32_softmax = False

padding_multiple = no_padding
parameters = _banded.parameters
cache_bytes = window_cache_bytes

_FEATURES: tuple[Feature, ...] = (
    "causal",
    "unequal sides",
    "grouped heads",
    "free widths",
    "decode",
)


def unsupported_reason(workload: Workload) -> str | None:
    """Supports every stack with a window; on CPU, values are as wide as keys."""
    if workload.is_dense:
        return "computes a sliding window, not dense attention"
    unsupported = unsupported_decoding(workload) or unsupported_feature(workload, _FEATURES)
    if unsupported:
        return unsupported
    if workload.device == "cpu" and workload.value_dim != workload.head_dim:
        return "torch's fused attention on CPU needs values as wide as keys"
    return None


def build(workload: Workload) -> Call:
    """`LongformerSelfAttention` with the pattern's window and dilations; no dropout."""
    make_layer, make_kwargs = layer_makers(workload, "auto")
    if workload.mode == "decode":
        return build_window_decoding(workload, make_layer, workload)
    return build_call(workload, workload.seq_len, make_layer, make_kwargs)


def mac_terms(workload: Workload) -> list[MacTerm]:
    """Projections, tiles of the band, global columns and global rows.

    A token that is decoded is multiplied with the keys that it attends to and no others.
    """
    if workload.mode == "decode":
        return formulas.useful_terms(workload)
    return [
        *formulas.projection_terms(workload),
        *_tile_terms(workload),
        *_global_key_terms(workload),
        *global_query_terms(workload),
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
            computed = Factor("S", _scores_in_tiles(workload, layer, tiles))
            products: tuple[tuple[Part, int, Factor], ...] = (
                ("scores", of_scores, Factor("d", workload.head_dim)),
                ("context", of_context, formulas.value_factor(workload)),
            )
            for part, passes, width in products:
                name = f"{part}{when}{suffix}"
                factors = (width, computed)
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
    n = workload.seq_len
    return sum(
        heads * scores(n, layer.sides(n), dilation, tiles)
        for dilation, heads in Counter(layer.dilation).items()
    )


def _forward_tiles(workload: Workload, layer: AttentionPattern) -> TileSizes:
    if workload.device == "cpu":
        return fused_forward_tile_sizes(workload.dtype_bytes)
    return matmul_tile_sizes(layer.sides(workload.seq_len), on_cpu=False)


def _backward_tiles(workload: Workload, layer: AttentionPattern) -> TileSizes:
    sides = layer.sides(workload.seq_len)
    if workload.device == "cpu":
        return fused_backward_tile_sizes(workload.dtype_bytes, sides)
    return matmul_tile_sizes(sides, on_cpu=False)


def _global_key_terms(workload: Workload) -> list[MacTerm]:
    """The columns of global tokens, which all queries are multiplied with."""
    numbers = [len(layer.global_positions) for layer in workload.layers]
    layers = formulas.factor_of_layers(workload, sum(map(bool, numbers)))
    name = "attention sinks" if workload.pattern.causal else "global keys"
    return global_pair_terms(workload, name, max(numbers), layers)


def blocks(workload: Workload, layer: AttentionPattern, head: int) -> tuple[ComputedBlocks, ...]:
    """Tiles of the band in both passes, global columns, and global rows."""
    n = workload.seq_len
    if workload.mode == "decode":
        return fused_blocks(workload, tuple(decoded_windows(workload, layer, head)), ())

    def tiles(sizes: TileSizes) -> tuple[BlockRun, ...]:
        return tuple(block_runs(n, layer.sides(n), layer.dilation[head], sizes))

    columns = columns_of(layer.global_positions, n)
    computed = fused_blocks(
        workload,
        (*tiles(_forward_tiles(workload, layer)), *columns),
        (*tiles(_backward_tiles(workload, layer)), *columns),
    )
    return (*computed, *global_row_blocks(workload, layer))


def static_bytes(workload: Workload) -> int:
    """Bytes of parameters and hidden states, and of the cache before the call."""
    inputs = parameter_and_input_bytes(workload, parameters(workload))
    return inputs + window_cached_bytes(workload)


def peak_bytes(workload: Workload) -> int:
    """Peak bytes: query, key and value; in inference the output overwrites the query."""
    if workload.mode == "decode":
        return stack_decoding_bytes(workload, partial(window_decoding_memory, workload))
    return stack_peak_bytes(workload, layer_memory)
