"""transformers' `BertSelfAttention` under `sdpa`, fused attention: no tensor of n^2 scores."""

from __future__ import annotations

from functools import partial
from typing import Literal

from attnprof.core import formulas
from attnprof.core.blocks import ComputedBlocks
from attnprof.core.causal_blocks import fused_causal_runs
from attnprof.core.mac_terms import MacTerm, total_macs
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin import _bert
from attnprof.kernels.builtin._build import no_padding
from attnprof.kernels.builtin._causal_masks import has_mask, is_fused_causal
from attnprof.kernels.builtin._decoding import (
    DecodingMemory,
    grown_cache_bytes,
    stack_cache_bytes,
    stack_decoding_bytes,
)
from attnprof.kernels.builtin._mac_factors import (
    all_pairs,
    fused_attention_terms,
    fused_backward_products,
)
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    Projected,
    activation_bytes,
    flash_cpu_backward_bytes,
    flash_cpu_forward_bytes,
    has_residual,
    log_sum_exp_bytes,
    projection_backward_bytes,
    stack_peak_bytes,
)

name = "bert-sdpa"
summary = "dense; transformers' BertSelfAttention on torch's fused attention"
source = "transformers, modeling_bert.py, BertSelfAttention; torch, scaled_dot_product_attention"
pattern_support: Literal["dense", "pattern"] = "dense"
ptflops_misses = "scaled_dot_product_attention"
needs_compilation = False
has_float32_softmax = False

unsupported_reason = _bert.unsupported_reason
padding_multiple = no_padding
parameters = _bert.parameters
cache_bytes = stack_cache_bytes


def build(workload: Workload) -> Call:
    """`BertSelfAttention` under `sdpa`."""
    return _bert.build(workload, "sdpa")


def static_bytes(workload: Workload) -> int:
    """Bytes of parameters, hidden states, the mask of a causal call, and the cache before it."""
    return _bert.static_bytes(workload, "sdpa")


def mac_terms(workload: Workload) -> list[MacTerm]:
    """Projections, scores and context; the fused backward also computes the scores again.

    All pairs, or those of the blocks that the fused operator does not skip if it is causal.
    """
    return [
        *formulas.weight_terms(workload),
        *fused_attention_terms(workload, partial(is_fused_causal, workload)),
    ]


def executed_macs(workload: Workload) -> int:
    """The sum of `mac_terms`."""
    return total_macs(mac_terms(workload))


def blocks(workload: Workload, layer: AttentionPattern, head: int) -> tuple[ComputedBlocks, ...]:
    """All pairs, as one block; in a causal call, the blocks that the operator does not skip."""
    n = workload.seq_len
    is_skipping = is_fused_causal(workload, layer)
    runs = fused_causal_runs(n, workload.device) if is_skipping else all_pairs(workload)
    return (
        ComputedBlocks(
            runs=runs, backward=fused_backward_products(workload), features=workload.head_dim
        ),
    )


def peak_bytes(workload: Workload) -> int:
    """Peak bytes: query, key, value and output, and the buffers inside the fused operator."""
    if workload.mode == "decode":
        return stack_decoding_bytes(workload, partial(_decoding_memory, workload))
    return stack_peak_bytes(workload, _layer_memory)


def _layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    """Memory of one attention; the comments name the tensors alive at each moment."""
    n = workload.seq_len
    projected = Projected.of(workload)
    activation = projected.hidden
    statistics = log_sum_exp_bytes(workload, n)
    on_cpu = workload.device == "cpu"
    return LayerMemory(
        # query, key, value, output
        forward=4 * activation
        + (flash_cpu_forward_bytes(workload, n, n) if on_cpu else statistics),
        saved=4 * activation + statistics,
        # query, key, value and their gradients
        output_backward=6 * activation
        + statistics
        + (flash_cpu_backward_bytes(workload, n, n) if on_cpu else statistics),
        projection_backward=projection_backward_bytes(
            projected, has_residual=has_residual(workload)
        ),
        output_is_saved=True,
        gradients=projected.weights,
    )


def _decoding_memory(workload: Workload, layer: AttentionPattern) -> DecodingMemory:
    """Memory of one attention that decodes; the comments name the tensors alive at each moment."""
    m, n = workload.queries, workload.seq_len
    activation, cache = activation_bytes(workload, m), grown_cache_bytes(workload, layer)
    is_masked = has_mask(workload, layer, "sdpa")
    mask = workload.batch_size * m * n * workload.dtype_bytes if is_masked else 0
    fused = (
        flash_cpu_forward_bytes(workload, m, n)
        if workload.device == "cpu"
        else log_sum_exp_bytes(workload, m)
    )
    return DecodingMemory(
        forward=max(
            # query, new keys and values; all keys and values
            3 * activation + cache,
            # query, output; all keys and values; the mask as numbers
            2 * activation + cache + mask + fused,
        ),
        kept=cache,
    )
