"""transformers' `BertSelfAttention` under `eager`: n^2 scores per head are materialised."""

from __future__ import annotations

from functools import partial
from typing import Literal

from attnprof.core.blocks import ComputedBlocks
from attnprof.core.mac_terms import MacTerm, total_macs
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin import _bert
from attnprof.kernels.builtin._build import no_padding
from attnprof.kernels.builtin._decoding import (
    DecodingMemory,
    grown_cache_bytes,
    stack_cache_bytes,
    stack_decoding_bytes,
)
from attnprof.kernels.builtin._mac_factors import (
    all_pairs,
    materialized_blocks,
    materialized_terms,
)
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    Projected,
    activation_bytes,
    has_residual,
    projection_backward_bytes,
    stack_peak_bytes,
)

name = "bert-eager"
summary = "dense; transformers' BertSelfAttention, scores materialised"
source = "transformers, modeling_bert.py, BertSelfAttention and eager_attention_forward"
pattern_support: Literal["dense", "pattern"] = "dense"
ptflops_misses = ""
needs_compilation = False
has_float32_softmax = False

unsupported_reason = _bert.unsupported_reason
padding_multiple = no_padding
parameters = _bert.parameters
cache_bytes = stack_cache_bytes


def build(workload: Workload) -> Call:
    """`BertSelfAttention` under `eager`."""
    return _bert.build(workload, "eager")


def static_bytes(workload: Workload) -> int:
    """Bytes of parameters, hidden states, the mask of a causal call, and the cache before it."""
    return _bert.static_bytes(workload, "eager")


def mac_terms(workload: Workload) -> list[MacTerm]:
    """Projections, and products of all pairs, masked or not: 3 b n D^2 + 2 b n^2 D a layer."""
    return materialized_terms(workload)


def executed_macs(workload: Workload) -> int:
    """The sum of `mac_terms`."""
    return total_macs(mac_terms(workload))


def blocks(workload: Workload, layer: AttentionPattern, head: int) -> tuple[ComputedBlocks, ...]:
    """All pairs, as one block."""
    return materialized_blocks(workload, all_pairs(workload))


def peak_bytes(workload: Workload) -> int:
    """Peak bytes: about two tensors of scores, three in training."""
    if workload.mode == "decode":
        return stack_decoding_bytes(workload, partial(_decoding_memory, workload))
    return stack_peak_bytes(workload, _layer_memory)


def _layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    """Memory of one attention; the comments name the tensors alive at each moment."""
    projected = Projected.of(workload)
    activation = projected.hidden
    scores = workload.batch_size * workload.num_heads * workload.seq_len**2 * workload.dtype_bytes
    # `matmul` folds batch and heads into one dimension; with several of both it has to copy.
    copies = workload.batch_size > 1 and workload.num_heads > 1
    saves_copies = copies and workload.mode == "training"
    forward = max(
        # query, key, value; the scores, scaled or turned into probabilities: old and new
        (5 if saves_copies else 3) * activation + 2 * scores,
        # probabilities; the context and its transpose, or a copy of the values
        (7 if saves_copies else 5) * activation + scores,
    )
    return LayerMemory(
        forward=forward,
        # query, key, value, output; probabilities
        saved=4 * activation + scores,
        # query, key, value and its gradient; the probabilities and their gradient
        output_backward=4 * activation + 2 * scores,
        # in the layout that `bmm` needs
        output_gradient_copy=activation if copies else 0,
        attention_backward=max(
            # query, key, gradient of value; probabilities, their gradient and that of the scores
            3 * activation + 3 * scores,
            # gradients of query and key as well
            5 * activation + scores,
        ),
        projection_backward=projection_backward_bytes(
            projected, has_residual=has_residual(workload)
        ),
        gradients=projected.weights,
    )


def _decoding_memory(workload: Workload, layer: AttentionPattern) -> DecodingMemory:
    """Memory of one attention that decodes; the comments name the tensors alive at each moment."""
    m, n = workload.queries, workload.seq_len
    activation, cache = activation_bytes(workload, m), grown_cache_bytes(workload, layer)
    scores = workload.batch_size * workload.num_heads * m * n * workload.dtype_bytes
    # The context of one token is contiguous in either order of tokens and heads.
    transposed = activation if m > 1 and workload.num_heads > 1 else 0
    return DecodingMemory(
        forward=max(
            # query, new keys and values; all keys and values
            3 * activation + cache,
            # query; all keys and values; the scores, scaled, masked or turned into probabilities
            activation + cache + 2 * scores,
            # query, context and its transpose; all keys and values; probabilities
            2 * activation + transposed + cache + scores,
        ),
        kept=cache,
    )
