"""attnprof's `LongformerSelfAttention` by Triton kernels: every sparse pattern, on CUDA."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from typing import Literal

from attnprof.core import formulas
from attnprof.core.blocks import BlockRun, ComputedBlocks
from attnprof.core.mac_terms import Factor, MacTerm, Part, total_macs
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin import _banded
from attnprof.kernels.builtin._banded import global_query_terms, global_row_blocks, layer_makers
from attnprof.kernels.builtin._banded_memory import memory_around
from attnprof.kernels.builtin._build import build_call, no_padding
from attnprof.kernels.builtin._features import Feature, unsupported_feature
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    parameter_and_input_bytes,
    stack_peak_bytes,
)
from attnprof.nn.banded.triton_costs import TritonShape
from attnprof.nn.banded.triton_sizes import TritonTile, max_width
from attnprof.nn.banded.triton_tiling import global_block_runs, triton_block_runs

name = "longformer-triton"
summary = "any pattern; attnprof's LongformerSelfAttention by Triton kernels, on CUDA"
source = "Longformer, arXiv 2004.05150, section 3.1; attnprof/nn/banded/triton_tiling.py"
pattern_support: Literal["dense", "pattern"] = "pattern"
ptflops_misses = "Triton kernels"
needs_compilation = False
has_float32_softmax = False

padding_multiple = no_padding
parameters = _banded.parameters

_FEATURES: tuple[Feature, ...] = ("causal", "unequal sides", "grouped heads", "free widths")


def unsupported_reason(workload: Workload) -> str | None:
    """Supports every stack with a window, on CUDA, in all types but float64."""
    if workload.is_dense:
        return "computes a sliding window, not dense attention"
    unsupported = unsupported_feature(workload, _FEATURES)
    if unsupported:
        return unsupported
    if workload.dtype == "float64":
        return "Triton kernels have no float64"
    widest = max_width(workload.dtype_bytes)
    if max(workload.head_dim, workload.value_dim) > widest:
        return f"Triton kernels have heads of at most {widest} in {workload.dtype}"
    if importlib.util.find_spec("triton") is None:
        return "needs Triton, which is not installed: pip install 'attnprof[triton]'"
    if workload.device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return "Triton kernels run on CUDA"
    return None


def build(workload: Workload) -> Call:
    """`LongformerSelfAttention` with the pattern's window and dilations; no dropout."""
    return build_call(workload, workload.seq_len, *layer_makers(workload, "triton"))


def mac_terms(workload: Workload) -> list[MacTerm]:
    """Projections, blocks of the band and of global columns in each kernel, and global rows."""
    return [
        *formulas.projection_terms(workload),
        *_block_terms(workload),
        *global_query_terms(workload),
        *formulas.rest_of_layer_terms(workload),
    ]


def executed_macs(workload: Workload) -> int:
    """The sum of `mac_terms`."""
    return total_macs(mac_terms(workload))


def _block_terms(workload: Workload) -> Iterator[MacTerm]:
    """Scores and context in the blocks of each kernel, of the band and of global keys."""
    head_dim, value_dim = Factor("d", workload.head_dim), formulas.value_factor(workload)
    of_globals = "attention sinks" if workload.pattern.causal else "global keys"
    for layer, layers, suffix in formulas.layer_groups(workload):
        shape = _shape(workload, layer)
        for when, tile, by_keys, of_scores, of_context in _passes(workload, shape):
            products: tuple[tuple[Part, int, Factor], ...] = (
                ("scores", of_scores, head_dim),
                ("context", of_context, value_dim),
            )
            in_band = Factor("S", shape.pairs(tile, by_keys=by_keys))
            in_columns = Factor("C", shape.global_pairs(tile))
            for part, passes, width in products:
                named: list[tuple[Part, str, Factor]] = [(part, f"{part}{when}{suffix}", in_band)]
                if shape.num_globals:
                    name_of_globals = f"{of_globals}, {part}{when}{suffix}"
                    named.append(("global_tokens", name_of_globals, in_columns))
                for kind, words, pairs in named:
                    yield formulas.term(
                        workload, kind, words, (width, pairs), passes=passes, layers=layers
                    )


def _passes(
    workload: Workload, shape: TritonShape
) -> Iterator[tuple[str, TritonTile, bool, int, int]]:
    """Each kernel: name, sizes, whether by keys, and products as wide as keys and as values."""
    yield "", shape.tiles.forward, False, 1, 1
    if workload.mode == "training":
        # Scores and the gradient of weights, in both; and the gradient of queries, or of keys and
        # values.
        yield ", gradient of queries", shape.tiles.of_queries, False, 2, 1
        yield ", gradient of keys", shape.tiles.of_keys, True, 2, 2


def _shape(workload: Workload, layer: AttentionPattern) -> TritonShape:
    return TritonShape(
        batch=workload.batch_size,
        seq_len=workload.seq_len,
        kv_heads=workload.kv_heads,
        head_dim=workload.head_dim,
        value_dim=workload.value_dim,
        dtype_bytes=workload.dtype_bytes,
        sides=layer.sides(workload.seq_len),
        dilation=layer.dilation,
        num_globals=len(layer.global_positions),
    )


def blocks(workload: Workload, layer: AttentionPattern, head: int) -> tuple[ComputedBlocks, ...]:
    """Blocks of the band and of global columns in each kernel, and global rows."""
    computed: list[ComputedBlocks] = []
    passes = list(_passes(workload, _shape(workload, layer)))
    for number, (_, tile, by_keys, of_scores, of_context) in enumerate(passes):
        runs = _runs(workload, layer, head, tile, by_keys=by_keys)
        forward, backward = (1, 0) if number == 0 else (0, 1)
        computed += [
            ComputedBlocks(
                runs=runs,
                scores=forward * of_scores,
                context=0,
                backward=backward * of_scores,
                features=workload.head_dim,
            ),
            ComputedBlocks(
                runs=runs,
                scores=0,
                context=forward * of_context,
                backward=backward * of_context,
                features=workload.value_dim,
            ),
        ]
    return (*computed, *global_row_blocks(workload, layer))


def _runs(
    workload: Workload, layer: AttentionPattern, head: int, tile: TritonTile, *, by_keys: bool
) -> tuple[BlockRun, ...]:
    """Blocks of one kernel."""
    n = workload.seq_len
    in_band = triton_block_runs(n, layer.dilation[head], tile, layer.sides(n), by_keys=by_keys)
    return (*in_band, *global_block_runs(n, layer.global_positions, tile))


def static_bytes(workload: Workload) -> int:
    """Bytes of parameters and hidden states."""
    return parameter_and_input_bytes(workload, parameters(workload))


def peak_bytes(workload: Workload) -> int:
    """Peak bytes: query, key and value; in inference the output overwrites the query."""
    return stack_peak_bytes(workload, _layer_memory)


def _layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    shape = _shape(workload, layer)
    return memory_around(workload, layer, shape.forward_bytes, shape.backward_bytes)
