"""Attention as one operator: torch's fused kernels, packed sequences, and FlexAttention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnprof.counting.aten_operators import aten_operators
from attnprof.counting.attention.calls import AttentionCall
from attnprof.counting.attention.expressions import Expression, counted_or_reason
from attnprof.counting.attention.tensors import TrackedTensors

_aten = torch.ops.aten

FUSED = frozenset(
    aten_operators(
        "_scaled_dot_product_efficient_attention "
        "_scaled_dot_product_flash_attention "
        "_scaled_dot_product_flash_attention_for_cpu "
        "_scaled_dot_product_cudnn_attention "
        "_scaled_dot_product_fused_attention_overrideable "
        "_scaled_dot_product_attention_math_for_mps"
    )
)
"""Operators that compute `scaled_dot_product_attention`."""

_MASKS = ("attn_mask", "attn_bias")


def weights_of(tensors: TrackedTensors, named: dict[str, Any]) -> Expression:
    """The attention weights that one of `FUSED` would compute.

    Args:
        tensors: the expressions of tensors.
        named: the operator's arguments by name; shapes are `(batch, heads, seq_len, head_dim)`.
    """
    build = tensors.build
    query: Tensor = named["query"]
    shape = (*query.shape[:-1], named["key"].shape[-2])
    mask = next((named[name] for name in _MASKS if named.get(name) is not None), None)
    if mask is None:
        scores = build.scores(shape, query.dtype)
    elif mask.dtype == torch.bool:
        scores = build.scores(shape, query.dtype)
        scores = build.masked_where(tensors.expression(mask), scores, -torch.inf)
    else:
        scores = build.sum(build.scores(shape, mask.dtype), tensors.expression(mask))
    if named.get("is_causal"):
        ones = build.fill(shape[-2:], torch.bool, True)
        scores = build.masked_where(build.triangle(ones, 0, True), scores, -torch.inf)
    return build.softmax(scores)


@dataclass(frozen=True, slots=True, eq=False)
class FusedAttention:
    """One call of a fused operator, whose pairs are not yet counted.

    Attributes:
        module_path: of the module that calls it.
        query: shape of the queries, `(batch, heads, queries, head_dim)`.
        key: shape of the keys, `(batch, kv_heads, keys, head_dim)`.
        value_dim: elements of a value.
        macs: of the operator.
        weights: the attention weights.
    """

    module_path: str
    query: tuple[int, ...]
    key: tuple[int, ...]
    value_dim: int
    macs: int
    weights: Expression


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
