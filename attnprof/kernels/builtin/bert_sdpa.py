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
from attnprof.kernels.builtin._fused import fused_call, fused_memory, unsupported_on_cuda
from attnprof.kernels.builtin._mac_factors import (
    all_pairs,
    fused_attention_terms,
    fused_backward_products,
)
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    Projected,
    activation_bytes,
    has_residual,
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

padding_multiple = no_padding
parameters = _bert.parameters
cache_bytes = stack_cache_bytes


def unsupported_reason(workload: Workload) -> str | None:
    """Supports dense attention only, on CUDA in types that torch fuses."""
    reason = _bert.unsupported_reason(workload)
    if reason:
        return reason
    is_masked = has_mask(workload, workload.layers[0], "sdpa") and workload.pattern.causal
    call = fused_call(workload, workload.queries, workload.seq_len, has_mask=is_masked)
    return unsupported_on_cuda(workload, call)


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
    fused = fused_memory(workload, fused_call(workload, n, n))
    return LayerMemory(
        # query, key, value, output
        forward=4 * activation + fused.forward,
        saved=4 * activation + fused.saved,
        # query, key, value and their gradients
        output_backward=6 * activation + fused.saved + fused.backward,
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
    call = fused_call(workload, m, n, has_mask=is_masked)
    fused = fused_memory(workload, call, masks=workload.batch_size * is_masked)
    return DecodingMemory(
        forward=max(
            # query, new keys and values; all keys and values
            3 * activation + cache,
            # query, output; all keys and values; the mask as numbers
            activation + cache + max(fused.mask_making, activation + fused.mask + fused.forward),
        ),
        kept=cache,
    )
