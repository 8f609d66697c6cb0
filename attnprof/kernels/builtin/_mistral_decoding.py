"""Memory of `mistral-eager` and `mistral-sdpa` while they decode.

Source: transformers, modeling_mistral.py, MistralAttention and eager_attention_forward;
integrations/sdpa_attention.py.
"""

from __future__ import annotations

from dataclasses import replace

from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.kernels.builtin._causal_masks import has_mask, keys_of
from attnprof.kernels.builtin._decoding import DecodingMemory, grown_cache_bytes
from attnprof.kernels.builtin._fused import fused_call, fused_memory
from attnprof.kernels.builtin._memory import Projected
from attnprof.kernels.builtin._mistral_memory import repeats_are_copies, rotation_bytes


def fused_decoding_memory(
    workload: Workload, layer: AttentionPattern, *, repeats_keys: bool
) -> DecodingMemory:
    """Memory of one attention under `sdpa`; the comments name the tensors alive at each moment.

    Args:
        workload: the call.
        layer: the pattern of the layer.
        repeats_keys: whether the fused operator is not given grouped keys as they are. For several
            new tokens they are repeated; for one, its query heads take the place of queries.
    """
    m, keys, size = workload.queries, keys_of(workload, layer), workload.dtype_bytes
    p, grown = Projected.of(workload, has_bias=False), grown_cache_bytes(workload, layer)
    is_packed = repeats_keys and m == 1
    shared = workload.num_heads // workload.kv_heads
    queries, heads = (shared, workload.kv_heads) if is_packed else (m, workload.num_heads)
    repeats = 0
    if repeats_keys and m > 1 and repeats_are_copies(workload):
        repeats = 2 * workload.batch_size * keys * workload.query_width * size
    is_masked = has_mask(workload, layer, "sdpa")
    kv_heads = heads if repeats_keys else workload.kv_heads
    call = fused_call(workload, queries, keys, kv_heads=kv_heads, has_mask=is_masked)
    masks = workload.batch_size if is_masked else 0
    call = replace(call, heads=heads)
    fused = fused_memory(workload, call, masks, m)
    # The memory-efficient kernel stores its output by queries, then heads.
    is_by_queries = workload.device == "cuda" and call.kernel == "efficient"
    unpacked = p.output if is_packed and is_by_queries and heads > 1 else 0
    return DecodingMemory(
        forward=max(
            _before_attention(p, grown),
            # query, output; all keys and values, and copies of them; the mask as numbers
            p.query
            + grown
            + repeats
            + max(fused.mask_making, fused.mask + p.output + fused.forward),
            # query, output and a copy of it; all keys and values
            p.query + grown + p.output + unpacked,
        ),
        kept=grown,
    )


def eager_decoding_memory(workload: Workload, layer: AttentionPattern) -> DecodingMemory:
    """Memory of one attention under `eager`; the comments name the tensors alive at each moment."""
    m, keys, size = workload.queries, keys_of(workload, layer), workload.dtype_bytes
    p, grown = Projected.of(workload, has_bias=False), grown_cache_bytes(workload, layer)
    numbers = workload.batch_size * workload.num_heads * m * keys
    scores = numbers * size
    exact = 0 if workload.dtype == "float32" else 4 * numbers
    repeated = workload.batch_size * keys * workload.query_width * size
    inputs = p.query + grown + (2 * repeated if repeats_are_copies(workload) else 0)
    # `matmul` folds batch and heads into one dimension: it copies what is not evenly spaced.
    folds = workload.batch_size > 1 and workload.num_heads > 1
    query_copy = p.query if folds and m > 1 else 0
    is_one_head = workload.kv_heads == 1
    key_copy = repeated if folds and is_one_head else 0
    # The context of one token is contiguous in either order of tokens and heads.
    transposed = p.output if m > 1 and workload.num_heads > 1 else 0
    return DecodingMemory(
        forward=max(
            _before_attention(p, grown),
            inputs + query_copy + key_copy + scores,
            # scores, scaled, masked, or turned into probabilities: old and new
            inputs + 2 * scores,
            # masked scores, the same in float32, probabilities, the same in the type of the scores
            inputs + scores + exact + max(exact, scores) if exact else 0,
            # probabilities; the context, and a copy of the values or its transpose
            inputs + scores + p.output + max(key_copy, transposed),
        ),
        kept=grown,
    )


def _before_attention(p: Projected, grown: int) -> int:
    """Peak bytes of rotations, and of query, new keys and values beside all keys and values."""
    return max(rotation_bytes(p), p.projected + grown)
