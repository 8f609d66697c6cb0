"""Projections and matrix products of one layer, as several kernels count them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnprof.core import formulas
from attnprof.core.mac_parts import MacParts

if TYPE_CHECKING:
    from attnprof.core.pattern import AttentionPattern
    from attnprof.core.workload import Workload


def fused_products(workload: Workload) -> int:
    """Matrix products in one call of fused attention: 2, and 7 in training."""
    if workload.mode == "inference":
        return formulas.FORWARD_PRODUCTS
    return formulas.FORWARD_PRODUCTS + formulas.BACKWARD_PRODUCTS


def score_products(workload: Workload) -> int:
    """Products of fused attention that compute scores, or the gradients of queries and keys.

    One in the forward pass; the backward pass computes the scores again, and the two gradients.
    """
    return 1 if workload.mode == "inference" else 4


def context_products(workload: Workload) -> int:
    """Products of fused attention that compute the context, or gradients of weights and values."""
    return fused_products(workload) - score_products(workload)


def training_factor(workload: Workload) -> int:
    """MACs of a call over those of its forward pass, for products of weights: 1, 3 in training."""
    return formulas.TRAINING_FACTOR if workload.mode == "training" else 1


def projections_of(layer: AttentionPattern) -> int:
    """Projections that one attention uses: 3, and 3 more where tokens are global."""
    return 6 if layer.global_positions else 3


def layer_parts(
    workload: Workload, *, scores: int, context: int, global_tokens: int = 0
) -> MacParts:
    """The parts of one layer, with its query, key and value projections and the rest of the layer.

    Args:
        workload: the call, at the length that is computed.
        scores: MACs of queries times keys.
        context: MACs of attention weights times values.
        global_tokens: MACs that global tokens add, their projections included.
    """
    tokens = training_factor(workload) * workload.batch_size * workload.seq_len
    square = workload.hidden_size**2
    is_whole = workload.scope == "layer"
    return MacParts(
        projections=3 * tokens * square,
        scores=scores,
        context=context,
        global_tokens=global_tokens,
        output_projection=tokens * square if is_whole else 0,
        feed_forward=2 * tokens * workload.hidden_size * workload.intermediate_size
        if is_whole
        else 0,
    )
