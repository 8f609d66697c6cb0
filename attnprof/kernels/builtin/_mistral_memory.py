"""Peak memory of `mistral-eager` and `mistral-sdpa` outside of their products of attention.

Rotary embeddings are what sets it apart from BERT's: x cos + rotate_half(x) sin, in tensors of
their own. Source: transformers, models/mistral/modeling_mistral.py, apply_rotary_pos_emb.
"""

from __future__ import annotations

from attnprof.core.workload import Workload
from attnprof.kernels.builtin._memory import (
    Projected,
    has_residual,
    projection_backward_bytes,
)


def rotation_bytes(projected: Projected) -> int:
    """Peak bytes of the forward pass before attention.

    Beside all projections there are x cos, rotate_half(x) sin and their sum, of the queries; then,
    beside the rotated queries, of the keys.
    """
    p = projected
    return p.projected + max(3 * p.query, p.query + 3 * p.key)


def rotation_backward_bytes(projected: Projected) -> int:
    """Peak bytes while gradients are rotated back: three tensors of queries beside all gradients.

    They are the gradients of the two halves, padded to the whole, and their sum.
    """
    return projected.projected + 3 * max(projected.query, projected.key)


def layer_projection_backward_bytes(
    workload: Workload, projected: Projected, *, copies_value: bool
) -> int:
    """Peak bytes of the backward pass of the projections, each of a copy of its gradient.

    Args:
        workload: the call.
        projected: sizes of tensors.
        copies_value: whether the gradient of values is in another layout than its projection, as
            those of queries and keys always are.
    """
    p = projected
    residual = p.hidden if has_residual(workload) else 0
    query_copy = p.query if workload.num_heads > 1 else 0
    key_copy = p.key if workload.kv_heads > 1 else 0
    value_copy = p.value if copies_value and workload.kv_heads > 1 else 0
    # With several sequences, the first of two gradients to be summed is a view of a product.
    sum_of_two = 3 * p.hidden if workload.batch_size > 1 and not residual else 0
    return max(
        p.projected + value_copy + residual,
        p.query + p.key + key_copy + p.hidden + p.value_weight,
        p.query + max(query_copy + p.hidden, sum_of_two) + p.value_weight + p.key_weight,
        projection_backward_bytes(p, has_residual=has_residual(workload)),
    )


def repeats_are_copies(workload: Workload) -> bool:
    """Whether keys that are repeated for each query head are copied: a view serves for one head."""
    return 1 < workload.kv_heads < workload.num_heads
