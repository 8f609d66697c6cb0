"""Terms of MACs that several kernels have, and how often fused attention computes its products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attnprof.core import formulas
from attnprof.core.mac_terms import Factor, MacTerm

if TYPE_CHECKING:
    from attnprof.core.pattern import AttentionPattern
    from attnprof.core.workload import Workload


def fused_scores_passes(workload: Workload) -> Factor | int:
    """How often fused attention computes scores or their gradients: once; T + 1 times in training.

    The backward pass computes the scores again, as the forward pass does not store them.
    """
    if workload.mode == "inference":
        return 1
    return Factor("(T+1)", formulas.TRAINING_FACTOR + 1)


def fused_products(workload: Workload) -> Factor | int:
    """Matrix products in one call of fused attention: 2, and 2 T + 1 = 7 in training."""
    if workload.mode == "inference":
        return formulas.FORWARD_PRODUCTS
    return Factor("(2T+1)", formulas.FORWARD_PRODUCTS + formulas.BACKWARD_PRODUCTS)


def fused_backward_products(workload: Workload) -> int:
    """Matrix products in the backward pass of fused attention: 5, and none in inference."""
    return formulas.BACKWARD_PRODUCTS if workload.mode == "training" else 0


def backward_products(workload: Workload, forward: int = formulas.FORWARD_PRODUCTS) -> int:
    """Matrix products in the backward pass of as many products, of which nothing is recomputed."""
    return forward * (formulas.TRAINING_FACTOR - 1) if workload.mode == "training" else 0


def dense_term(
    workload: Workload, part: Literal["scores", "context"], passes: Factor | int
) -> MacTerm:
    """Scores, or probabilities by values, of all n^2 pairs of a layer's heads."""
    factors = (formulas.tokens(workload, 2), Factor("D", workload.hidden_size))
    return formulas.term(workload, part, part, factors, passes=passes)


def computed_scores(workload: Workload, scores: int) -> tuple[Factor, Factor]:
    """Factors of scores, masked ones included, that all heads of a layer compute."""
    return Factor("d", workload.head_dim), Factor("S", scores)


def global_term(
    workload: Workload, name: str, passes: Factor | int | None = None, *, products: int = 1
) -> list[MacTerm]:
    """Global tokens against all tokens; none without global tokens.

    Args:
        workload: the call.
        name: what is computed, in words.
        passes: as in `formulas.term`.
        products: matrix products in each pass.
    """
    g = formulas.num_globals(workload)
    if not g:
        return []
    width = Factor("D", workload.hidden_size)
    factors = (products, Factor("g", g), formulas.tokens(workload), width)
    return [formulas.term(workload, "global_tokens", name, factors, passes=passes)]


def projections_of(layer: AttentionPattern) -> int:
    """Projections that one attention uses: 3, and 3 more where tokens are global."""
    return 6 if layer.global_positions else 3
