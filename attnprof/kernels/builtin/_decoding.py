"""Decoding with transformers' `DynamicCache`: construction and memory that several kernels share.

Source: transformers, cache_utils.py, DynamicLayer: each call concatenates the cached keys (values)
and the new ones into a new tensor, which replaces the old one in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._build import build_call
from attnprof.kernels.builtin._memory import activation_bytes

if TYPE_CHECKING:
    import torch
    from torch import nn

Implementation = Literal["eager", "sdpa"]

_CAUSAL = "decodes causal patterns only: keys and values in a cache cannot depend on later tokens"


def unsupported_decoding(workload: Workload) -> str | None:
    """Why nothing can be decoded with this pattern, None in other modes."""
    is_decoding = workload.mode == "decode"
    return _CAUSAL if is_decoding and not workload.pattern.causal else None


def build_decoding(
    workload: Workload,
    make_layer: Callable[[int, AttentionPattern], nn.Module],
    make_mask: Callable[[], torch.Tensor | None],
) -> Call:
    """A call on the new tokens, with a `DynamicCache` that holds random keys and values before it.

    Args:
        workload: the call, in mode `decode`.
        make_layer: makes the attention of the layer with that index and pattern.
        make_mask: makes the mask of all layers; None for no mask.
    """
    from attnprof.kernels.filled_cache import FilledCache

    filled: list[FilledCache] = []

    def make_kwargs(hidden_states: torch.Tensor) -> dict[str, Any]:
        cache = _random_cache(workload)
        filled.append(FilledCache(cache))
        return {"attention_mask": make_mask(), _cache_argument(): cache}

    call = build_call(workload, workload.queries, make_layer, make_kwargs)
    return replace(call, cache=filled[0])


def _random_cache(workload: Workload) -> Any:
    """A `DynamicCache` of the earlier tokens; a call costs the same whatever they are."""
    import torch
    from transformers import DynamicCache

    cache = DynamicCache()
    earlier = workload.seq_len - workload.queries
    for index in range(len(workload.layers) if earlier else 0):
        key, value = (
            torch.randn(workload.batch_size, workload.kv_heads, earlier, width)
            for width in (workload.head_dim, workload.value_dim)
        )
        cache.update(key, value, index)
    return cache


def _cache_argument() -> str:
    from transformers.models.bert.modeling_bert import BertSelfAttention

    from attnprof.kernels.filled_cache import cache_argument

    return cache_argument(BertSelfAttention)


def causal_mask(workload: Workload, implementation: Implementation) -> torch.Tensor | None:
    """The mask of the new tokens as models of transformers make it, `(batch, 1, queries, keys)`.

    `eager` adds numbers, `sdpa` has booleans, and none for a single new token, which attends to
    all keys. Source: transformers, masking_utils.py, sdpa_mask and eager_mask.
    """
    import torch

    if implementation == "sdpa" and workload.queries == 1:
        return None
    first = workload.seq_len - workload.queries
    query, key = torch.arange(first, workload.seq_len)[:, None], torch.arange(workload.seq_len)
    is_attended = (key <= query).expand(workload.batch_size, 1, -1, -1)
    if implementation == "sdpa":
        return is_attended
    dtype = torch.get_default_dtype()
    return torch.where(is_attended, torch.zeros((), dtype=dtype), torch.finfo(dtype).min)


def mask_bytes(workload: Workload, implementation: Implementation) -> int:
    """Bytes of `causal_mask`."""
    pairs = workload.queries * workload.seq_len
    if implementation == "eager":
        return workload.batch_size * pairs * workload.dtype_bytes
    return pairs if workload.queries > 1 else 0


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


def cached_input_bytes(workload: Workload) -> int:
    """Bytes of the cache before the call, all earlier tokens in each layer."""
    earlier = workload.seq_len - workload.queries
    return len(workload.layers) * _key_and_value_bytes(workload, earlier)


def stack_cache_bytes(workload: Workload) -> int:
    """Bytes of the cache after a call, all tokens in each layer."""
    return len(workload.layers) * grown_cache_bytes(workload)


def grown_cache_bytes(workload: Workload) -> int:
    """Bytes of one layer's keys and values of all tokens, as a call leaves them in the cache."""
    return _key_and_value_bytes(workload, workload.seq_len)


def _key_and_value_bytes(workload: Workload, tokens: int) -> int:
    width = workload.key_width + workload.value_width
    return workload.batch_size * tokens * width * workload.dtype_bytes
