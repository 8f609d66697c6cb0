"""Decoding with transformers' `DynamicCache`: construction and memory that several kernels share.

Each call concatenates the cached keys (values) and the new ones into a new tensor, which takes the
place of the old one in the cache. A layer with a window keeps one key less than the window has.
Source: transformers, cache_utils.py, DynamicLayer and DynamicSlidingWindowLayer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from attnprof.core import formulas
from attnprof.core.blocks import BlockRun
from attnprof.core.mac_terms import Factor, MacTerm
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._build import build_call
from attnprof.kernels.builtin._causal_masks import keys_of
from attnprof.kernels.builtin._memory import activation_bytes

if TYPE_CHECKING:
    import torch
    from torch import nn

_CAUSAL = "decodes causal patterns only: keys and values in a cache cannot depend on later tokens"


def unsupported_decoding(workload: Workload) -> str | None:
    """Why nothing can be decoded with this pattern, None in other modes."""
    is_decoding = workload.mode == "decode"
    return _CAUSAL if is_decoding and not workload.pattern.causal else None


def build_decoding(
    workload: Workload,
    make_layer: Callable[[int, AttentionPattern], nn.Module],
    make_kwargs: Callable[[torch.Tensor], dict[str, Any]],
) -> Call:
    """A call on the new tokens, with a `DynamicCache` that holds random keys and values before it.

    Args:
        workload: the call, in mode `decode`.
        make_layer: makes the attention of the layer with that index and pattern.
        make_kwargs: makes further keyword arguments, as for `build_call`.
    """
    from attnprof.kernels.filled_cache import FilledCache

    filled: list[FilledCache] = []

    def with_cache(hidden_states: torch.Tensor) -> dict[str, Any]:
        cache = _random_cache(workload)
        filled.append(FilledCache(cache))
        return {**make_kwargs(hidden_states), _cache_argument(): cache}

    call = build_call(workload, workload.queries, make_layer, with_cache)
    return replace(call, cache=filled[0])


def _random_cache(workload: Workload) -> Any:
    """A cache of the earlier tokens; a call costs the same whatever they are."""
    import torch
    from transformers.cache_utils import Cache, DynamicLayer, DynamicSlidingWindowLayer

    layers: list[Any] = []
    for layer in workload.layers:
        kept = keys_of(workload, layer) - workload.queries
        cached: Any = DynamicLayer()
        if layer.window is not None:
            cached = DynamicSlidingWindowLayer(sliding_window=layer.window)
        key, value = (
            torch.randn(workload.batch_size, workload.kv_heads, kept, width)
            for width in (workload.head_dim, workload.value_dim)
        )
        cached.lazy_initialization(key, value)
        if kept:
            cached.keys, cached.values = key, value
        if layer.window is not None:
            cached.cumulative_length = workload.seq_len - workload.queries
        layers.append(cached)
    return Cache(layers=layers)


def _cache_argument() -> str:
    from transformers.models.bert.modeling_bert import BertSelfAttention

    from attnprof.kernels.filled_cache import cache_argument

    return cache_argument(BertSelfAttention)


def decoded_terms(workload: Workload) -> list[MacTerm]:
    """Scores and context of the new tokens with all keys in the cache and their own.

    m n H (d + e) a dense layer; with a window k, at most w - 1 + m, takes the place of n.
    """
    heads, new = Factor("H", workload.num_heads), formulas.queries(workload)
    terms: list[MacTerm] = []
    for layer, layers, suffix in formulas.layer_groups(workload):
        keys = keys_of(workload, layer)
        of_keys = formulas.tokens(workload) if layer.is_dense else Factor("k", keys)
        widths: tuple[tuple[Literal["scores", "context"], Factor], ...] = (
            ("scores", Factor("d", workload.head_dim)),
            ("context", formulas.value_factor(workload)),
        )
        for part, width in widths:
            factors = (new, of_keys, heads, width)
            terms.append(formulas.term(workload, part, part + suffix, factors, layers=layers))
    return terms


def decoded_runs(workload: Workload, layer: AttentionPattern) -> tuple[BlockRun, ...]:
    """The new tokens with all keys in the cache and their own, as one block."""
    n, keys = workload.seq_len, keys_of(workload, layer)
    return (BlockRun(range(n - workload.queries, n), range(n - keys, n)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingMemory:
    """Bytes that the attention of one layer allocates while it decodes.

    Attributes:
        forward: peak, the output included.
        kept: what it leaves in the cache: new tensors of all keys and values.
    """

    forward: int
    kept: int


def stack_decoding_bytes(
    workload: Workload, memory_of: Callable[[AttentionPattern], DecodingMemory]
) -> int:
    """Peak bytes of the layers in sequence; what the layers below left in their caches stays.

    The cache before the call stays alive too, as an input of the call.
    """
    activation = activation_bytes(workload, workload.queries)
    peak, kept = 0, 0
    for index, layer in enumerate(workload.layers):
        memory = memory_of(layer)
        forward = memory.forward
        if workload.scope == "layer":
            inner = activation // workload.hidden_size * workload.intermediate_size
            # the feed-forward's input, and its inner activation before and after GELU
            forward = max(forward, memory.kept + activation + 2 * inner)
        below = activation if index else 0
        peak = max(peak, kept + below + forward)
        kept += memory.kept
    return peak


def cached_bytes(workload: Workload) -> int:
    """Bytes of the cache before a call that decodes; 0 in other modes."""
    if workload.mode != "decode":
        return 0
    kept = (keys_of(workload, layer) - workload.queries for layer in workload.layers)
    return sum(_key_and_value_bytes(workload, tokens) for tokens in kept)


def stack_cache_bytes(workload: Workload) -> int:
    """Bytes that the cache has allocated after a call.

    A layer with a window then has a view of its last keys, which keeps those of the whole call.
    """
    return sum(grown_cache_bytes(workload, layer) for layer in workload.layers)


def grown_cache_bytes(workload: Workload, layer: AttentionPattern) -> int:
    """Bytes of the keys and values of one layer, cached and new ones, that a call concatenates."""
    return _key_and_value_bytes(workload, keys_of(workload, layer))


def _key_and_value_bytes(workload: Workload, tokens: int) -> int:
    width = workload.key_width + workload.value_width
    return workload.batch_size * tokens * width * workload.dtype_bytes
