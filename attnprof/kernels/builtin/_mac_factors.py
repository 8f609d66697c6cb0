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
    """Scores, or probabilities by values, of all pairs of queries and keys of a layer's heads."""
    n, m = formulas.tokens(workload), formulas.queries(workload)
    pairs = (formulas.tokens(workload, 2),) if m == n else (m, n)
    head_dim, value_dim = Factor("d", workload.head_dim), formulas.value_factor(workload)
    width: tuple[Factor, ...] = (Factor("D", workload.hidden_size),)
    if not workload.has_equal_widths:
        width = (
            Factor("H", workload.num_heads),
            head_dim if part == "scores" else value_dim,
        )
    return formulas.term(workload, part, part, (*pairs, *width), passes=passes)


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
    layers = formulas.layers_with_globals(workload)
    return [formulas.term(workload, "global_tokens", name, factors, passes=passes, layers=layers)]


def projection_sets(layer: AttentionPattern) -> int:
    """Sets of Q, K and V projections of one attention: one more where tokens are global."""
    return 2 if layer.symmetric_globals else 1
