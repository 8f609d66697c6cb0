"""Projections and matrix products of one layer, as several kernels count them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnprof.core import formulas

if TYPE_CHECKING:
    from attnprof.core.pattern import AttentionPattern
    from attnprof.core.workload import Workload


def fused_products(workload: Workload) -> int:
    """Matrix products in one call of fused attention: 2, and 7 in training."""
    return formulas.FORWARD_PRODUCTS + fused_backward_products(workload)


def fused_backward_products(workload: Workload) -> int:
    """Matrix products in the backward pass of fused attention: 5, and none in inference."""
    return formulas.BACKWARD_PRODUCTS if workload.mode == "training" else 0


def backward_products(workload: Workload, forward: int = formulas.FORWARD_PRODUCTS) -> int:
    """Matrix products in the backward pass of as many products, of which nothing is recomputed."""
    return forward * (training_factor(workload) - 1)


def training_factor(workload: Workload) -> int:
    """MACs of a call over those of its forward pass, for products of weights: 1, 3 in training."""
    return formulas.TRAINING_FACTOR if workload.mode == "training" else 1


def projections_of(layer: AttentionPattern) -> int:
    """Projections that one attention uses: 3, and 3 more where tokens are global."""
    return 6 if layer.global_positions else 3
