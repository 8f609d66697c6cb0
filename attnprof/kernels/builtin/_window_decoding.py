"""Decoding with attnprof's `WindowCache`: construction, blocks and memory.

Source: attnprof/nn/window_cache.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnprof.core.blocks import BlockRun, consecutive
from attnprof.core.cuda_attention import HEAD_ALIGNMENT, CudaAttention
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._build import build_call
from attnprof.kernels.builtin._decoding import DecodingMemory
from attnprof.kernels.builtin._fused import fused_call, fused_memory
from attnprof.kernels.builtin._memory import activation_bytes
from attnprof.kernels.builtin._multiplied import MultipliedAttention
from attnprof.nn.window_tokens import HeldTokens, attended_keys, shared_heads

if TYPE_CHECKING:
    import torch
    from torch import nn

    from attnprof.nn.window_cache import WindowCache


def build_window_decoding(
    workload: Workload,
    make_layer: Callable[[int, AttentionPattern], nn.Module],
    cached: Workload,
) -> Call:
    """A call on the new tokens, with a `WindowCache` that holds random keys and values before it.

    Args:
        workload: the call, in mode `decode`.
        make_layer: makes the attention of the layer with that index and pattern.
        cached: the same call with the patterns whose keys are cached.
    """
    from attnprof.kernels.filled_cache import FilledWindowCache

    filled: list[FilledWindowCache] = []

    def make_kwargs(hidden_states: torch.Tensor) -> dict[str, Any]:
        cache = _random_cache(cached)
        filled.append(FilledWindowCache(cache))
        return {"cache": cache}

    call = build_call(workload, workload.queries, make_layer, make_kwargs)
    return replace(call, cache=filled[0])


def _random_cache(workload: Workload) -> WindowCache:
    """A cache of the earlier tokens to which a new or a later one attends."""
    import torch

    from attnprof.nn.window_cache import WindowCache

    cache = WindowCache(workload.layers)
    for layer in cache.layers:
        held = _before(workload, layer.pattern)
        if not len(held):
            continue
        layer.held = held
        layer.keys, layer.values = (
            torch.randn(workload.batch_size, workload.kv_heads, len(held), width)
            for width in (workload.head_dim, workload.value_dim)
        )
    return cache


def _before(workload: Workload, layer: AttentionPattern) -> HeldTokens:
    return HeldTokens.of(layer, workload.seq_len - workload.queries)


def decoded_windows(workload: Workload, layer: AttentionPattern, head: int) -> Iterator[BlockRun]:
    """Each new token with the attention sinks, and the keys in its window."""
    for query in range(workload.seq_len - workload.queries, workload.seq_len):
        sinks, window = attended_keys(layer, layer.dilation[head], query)
        for keys in (*consecutive(sinks), window):
            yield BlockRun(range(query, query + 1), keys)


def window_cached_bytes(workload: Workload) -> int:
    """Bytes of the cache before a call that decodes; 0 in other modes."""
    if workload.mode != "decode":
        return 0
    return sum(
        _key_and_value_bytes(workload, len(_before(workload, layer))) for layer in workload.layers
    )


def window_cache_bytes(workload: Workload) -> int:
    """Bytes that the cache has allocated after a call: it keeps all that the new tokens read."""
    return sum(grown_window_bytes(workload, layer) for layer in workload.layers)


def grown_window_bytes(workload: Workload, layer: AttentionPattern) -> int:
    """Bytes of the keys and values of one layer, cached and new ones, after a call."""
    tokens = len(_before(workload, layer)) + workload.queries
    return _key_and_value_bytes(workload, tokens)


def _key_and_value_bytes(workload: Workload, tokens: int) -> int:
    return activation_bytes(workload, tokens, workload.key_width + workload.value_width)


def window_decoding_memory(workload: Workload, layer: AttentionPattern) -> DecodingMemory:
    """Memory of one attention; the comments name the tensors alive at each moment."""
    m = workload.queries
    query = activation_bytes(workload, m, workload.query_width)
    grown = grown_window_bytes(workload, layer)
    # Without earlier tokens, the projections themselves are cached.
    has_earlier = len(_before(workload, layer)) > 0
    new = activation_bytes(workload, m, workload.value_width) if has_earlier else 0
    output = activation_bytes(workload, m, workload.output_width)
    return DecodingMemory(
        forward=max(
            # query, new values; all keys and values
            query + new + grown,
            # query, output; all keys and values; of one token and group what is below
            query + output + grown + _most_of_one_call(workload, layer),
        ),
        kept=grown,
    )


def _most_of_one_call(workload: Workload, layer: AttentionPattern) -> int:
    """Copies of keys and values that are not evenly spaced, output and buffers of one call."""
    n, before, size = workload.seq_len, _before(workload, layer), workload.dtype_bytes
    held = HeldTokens(before.sinks, before.start, n)
    widths, most = workload.head_dim + workload.value_dim, 0
    for group in shared_heads(layer.dilation, workload.kv_heads):
        attentions = workload.batch_size * len(group.keys)
        shared = len(group.queries) // len(group.keys)
        for query in range(n - workload.queries, n):
            sinks, window = attended_keys(layer, group.stride, query)
            keys = len(sinks) + len(window)
            is_copied = len(held.slices_of(sinks, window)) > 1
            copies = attentions * keys * widths * size if is_copied else 0
            call = replace(
                fused_call(workload, shared, keys), heads=len(group.keys), kv_heads=len(group.keys)
            )
            most = max(most, copies + _attending_bytes(workload, call))
    return most


def _attending_bytes(workload: Workload, call: CudaAttention) -> int:
    """Bytes of one call: the output, buffers, and a copy of the output by heads."""
    outputs = call.batch * call.heads * call.queries * workload.dtype_bytes
    output = outputs * call.value_dim
    if workload.device == "cpu":
        return output + fused_memory(workload, call).forward
    if call.kernel == "math":
        return max(MultipliedAttention.of(call).forward_bytes(), output)
    aligned = call.head_dim
    padded = 0
    if call.kernel == "flash" and call.head_dim % HEAD_ALIGNMENT:
        aligned += -call.head_dim % HEAD_ALIGNMENT
        padded = (2 * outputs // call.queries * call.keys + outputs) * aligned
        output = outputs * aligned
        call = replace(call, head_dim=aligned, value_dim=aligned)
    # On CUDA outputs are stored by queries, then heads.
    is_copied = call.heads > 1 and call.queries > 1
    copied = outputs * workload.value_dim if is_copied or padded else 0
    return max(padded + output + fused_memory(workload, call).forward, output + copied)
