"""Attention as one operator of torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnprof.counting.aten_operators import aten_operators
from attnprof.counting.attention.calls import AttentionCall
from attnprof.counting.attention.expressions import Expression, counted_or_reason
from attnprof.counting.attention.tensors import TrackedTensors
from attnprof.counting.attention_formulas import attention_macs

_MASKS = ("attn_mask", "attn_bias")
_OF_PAIRS, _OF_KEYS = 0, 1
"""Values of `mask_type` of torch's layers: a mask `(queries, keys)`, or one `(batch, keys)`."""

PACKED = frozenset(
    aten_operators("_flash_attention_forward _efficient_attention_forward _cudnn_attention_forward")
)
"""Operators that compute attention over sequences that are packed into one; not followed."""


@dataclass(frozen=True, slots=True, eq=False)
class FusedAttention:
    """One call of an operator that computes attention, whose pairs are not yet counted.

    Attributes:
        module_path: of the module that calls it.
        query: shape of the queries, `(batch, heads, queries, head_dim)`.
        key: shape of the keys, `(batch, kv_heads, keys, head_dim)`.
        value_dim: elements of a value.
        macs: of scores and context.
        weights: the attention weights.
    """

    module_path: str
    query: tuple[int, ...]
    key: tuple[int, ...]
    value_dim: int
    macs: int
    weights: Expression


Find = Callable[[TrackedTensors, "dict[str, Any]", int, str], FusedAttention]
"""Takes an operator's arguments by name, its MACs and the path of the module that calls it."""


def call_of_fused(fused: FusedAttention, count: Callable[[Expression], int]) -> AttentionCall:
    """What a fused operator needs and executes; `count` counts pairs."""
    attended, unknown = counted_or_reason(lambda: count(fused.weights))
    batch, heads, queries, head_dim = fused.query
    return AttentionCall(
        module_path=fused.module_path,
        implementation="scaled_dot_product_attention",
        batch=batch,
        heads=heads,
        kv_heads=fused.key[1],
        queries=queries,
        keys=fused.key[-2],
        head_dim=head_dim,
        value_dim=fused.value_dim,
        executed_pairs=fused.macs // (head_dim + fused.value_dim),
        attended_pairs=attended,
        executed_macs=fused.macs,
        unknown=unknown,
    )


def _sdpa(
    tensors: TrackedTensors, named: dict[str, Any], macs: int, module_path: str
) -> FusedAttention:
    """An operator of `scaled_dot_product_attention`, `(batch, heads, seq_len, head_dim)`."""
    query: Tensor = named["query"]
    key: Tensor = named["key"]
    mask = next((named[name] for name in _MASKS if named.get(name) is not None), None)
    shape = (*query.shape[:-1], key.shape[-2])
    scores = _masked(tensors, shape, query.dtype, mask)
    if named.get("is_causal"):
        # The corner is the first query with the first key.
        build = tensors.build
        lower = build.triangle(build.fill(shape[-2:], torch.bool, True), 0, True)
        scores = build.masked_where(lower, scores, -torch.inf)
    return FusedAttention(
        module_path,
        tuple(query.shape),
        tuple(key.shape),
        named["value"].shape[-1],
        macs,
        tensors.build.softmax(scores),
    )


def _masked(
    tensors: TrackedTensors, shape: Sequence[int], dtype: torch.dtype, mask: Tensor | None
) -> Expression:
    """Scores with a mask: true where a query attends to a key, or numbers to add."""
    build = tensors.build
    if mask is None:
        return build.scores(shape, dtype)
    expression = tensors.expression(mask)
    if mask.dtype == torch.bool:
        return build.masked_where(expression, build.scores(shape, dtype), -torch.inf)
    return build.sum(build.scores(shape, mask.dtype), expression)


def _layer(
    tensors: TrackedTensors, named: dict[str, Any], macs: int, module_path: str
) -> FusedAttention:
    """Attention inside one of torch's layers: self-attention, or all of `nn.MultiheadAttention`.

    Their masks are true where a pair is hidden.
    """
    query: Tensor = named["src"] if "src" in named else named["query"]
    key: Tensor = named.get("key", query)
    heads: int = named["num_heads"] if "num_heads" in named else named["num_head"]
    width: int = named["embed_dim"] // heads
    queries = (query.shape[0], heads, query.shape[1], width)
    keys = (key.shape[0], heads, key.shape[1], width)
    scores = tensors.build.scores((*queries[:3], keys[2]), query.dtype)
    if named["mask"] is not None:
        scores = _hidden(tensors, scores, named["mask"], named["mask_type"])
    return FusedAttention(
        module_path,
        queries,
        keys,
        width,
        attention_macs(queries, keys, keys),
        tensors.build.softmax(scores),
    )


def _hidden(
    tensors: TrackedTensors, scores: Expression, mask: Tensor, mask_type: int | None
) -> Expression:
    build, hides = tensors.build, tensors.expression(mask)
    batch, _, queries, keys = scores.shape
    if mask_type == _OF_KEYS:
        hides = build.reshape(hides, (batch, 1, 1, keys))
    elif mask_type == _OF_PAIRS:
        hides = build.reshape(hides, (1, 1, queries, keys))
    shown = build.inverted(hides)
    return build.masked_where(shown, scores, -torch.inf)


FUSED: dict[Any, Find] = {
    **dict.fromkeys(
        aten_operators(
            "_scaled_dot_product_efficient_attention "
            "_scaled_dot_product_flash_attention "
            "_scaled_dot_product_flash_attention_for_cpu "
            "_scaled_dot_product_cudnn_attention "
            "_scaled_dot_product_fused_attention_overrideable "
            "_scaled_dot_product_attention_math_for_mps"
        ),
        _sdpa,
    ),
    **dict.fromkeys(
        aten_operators("_native_multi_head_attention _transformer_encoder_layer_fwd"), _layer
    ),
}
"""Operators that compute attention, and possibly projections too."""
