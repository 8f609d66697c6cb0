"""Terms of MACs that several kernels have, and how often fused attention computes its products."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from attnprof.core import formulas
from attnprof.core.blocks import BlockRun, ComputedBlocks
from attnprof.core.causal_blocks import fused_causal_pairs
from attnprof.core.mac_terms import Factor, MacTerm

if TYPE_CHECKING:
    from attnprof.core.pattern import AttentionPattern
    from attnprof.core.workload import Workload

Product = Literal["scores", "context"]


def fused_scores_passes(workload: Workload) -> Factor | int:
    """How often fused attention computes scores or their gradients: once; T + 1 times in training.

    The backward pass computes the scores again, as the forward pass does not store them.
    """
    if workload.mode != "training":
        return 1
    return Factor("(T+1)", formulas.TRAINING_FACTOR + 1)


def fused_products(workload: Workload) -> Factor | int:
    """Matrix products in one call of fused attention: 2, and 2 T + 1 = 7 in training."""
    if workload.mode != "training":
        return formulas.FORWARD_PRODUCTS
    return Factor("(2T+1)", formulas.FORWARD_PRODUCTS + formulas.BACKWARD_PRODUCTS)


def fused_backward_products(workload: Workload) -> int:
    """Matrix products in the backward pass of fused attention: 5, and none in inference."""
    return formulas.BACKWARD_PRODUCTS if workload.mode == "training" else 0


def backward_products(workload: Workload, forward: int = formulas.FORWARD_PRODUCTS) -> int:
    """Matrix products in the backward pass of as many products, of which nothing is recomputed."""
    return forward * (formulas.TRAINING_FACTOR - 1) if workload.mode == "training" else 0


def dense_term(
    workload: Workload,
    part: Product,
    passes: Factor | int,
    *,
    layers: Factor | int | None = None,
    suffix: str = "",
) -> MacTerm:
    """Scores, or probabilities by values, of all pairs of queries and keys of a layer's heads.

    Args:
        workload: the call.
        part: which of the two products.
        passes: how often it is multiplied.
        layers: how many layers compute it; None for all.
        suffix: put after its name.
    """
    n, m = formulas.tokens(workload), formulas.queries(workload)
    pairs = (formulas.tokens(workload, 2),) if m == n else (m, n)
    head_dim, value_dim = Factor("d", workload.head_dim), formulas.value_factor(workload)
    width: tuple[Factor, ...] = (Factor("D", workload.hidden_size),)
    if not workload.has_equal_widths:
        width = (
            Factor("H", workload.num_heads),
            head_dim if part == "scores" else value_dim,
        )
    factors = (*pairs, *width)
    return formulas.term(workload, part, part + suffix, factors, passes=passes, layers=layers)


def materialized_terms(workload: Workload) -> list[MacTerm]:
    """Projections, and the scores and context of all pairs, masked or not."""
    passes = formulas.training_passes(workload)
    return [
        *formulas.weight_terms(workload),
        dense_term(workload, "scores", passes),
        dense_term(workload, "context", passes),
    ]


def materialized_blocks(
    workload: Workload, runs: tuple[BlockRun, ...]
) -> tuple[ComputedBlocks, ...]:
    """These pairs as one block of which nothing is recomputed in the backward pass."""
    backward = backward_products(workload)
    return (ComputedBlocks(runs=runs, backward=backward, features=workload.head_dim),)


def fused_attention_terms(
    workload: Workload, is_causal: Callable[[AttentionPattern], bool]
) -> list[MacTerm]:
    """Scores and context of torch's fused attention in all layers.

    All pairs, under a mask too; with `is_causal` those of `fused_causal_pairs`.

    Args:
        workload: the call.
        is_causal: whether the operator is called with `is_causal` in a layer, and no mask.
    """
    total = len(workload.layers)
    causal = sum(map(is_causal, workload.layers))
    pairs = fused_causal_pairs(workload.seq_len, workload.seq_len, workload.device)
    computed = Factor("S", workload.num_heads * pairs)
    head_dim, value_dim = Factor("d", workload.head_dim), formulas.value_factor(workload)
    products: tuple[tuple[Product, Factor | int, Factor], ...] = (
        ("scores", fused_scores_passes(workload), head_dim),
        ("context", formulas.training_passes(workload), value_dim),
    )
    terms: list[MacTerm] = []
    for part, passes, width in products:
        if causal < total:
            suffix, layers = (", masked", Factor("L", total - causal)) if causal else ("", None)
            terms.append(dense_term(workload, part, passes, layers=layers, suffix=suffix))
        if causal:
            suffix, layers = (", causal", Factor("L", causal)) if causal < total else ("", None)
            name = part + suffix
            terms.append(
                formulas.term(workload, part, name, (width, computed), passes=passes, layers=layers)
            )
    return terms


def all_pairs(workload: Workload) -> tuple[BlockRun, ...]:
    """All queries with all keys, as one block."""
    tokens = range(workload.seq_len)
    return (BlockRun(tokens[-workload.queries :], tokens),)


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


def global_pair_terms(
    workload: Workload, name: str, num_globals: int, layers: Factor | int
) -> list[MacTerm]:
    """Some tokens of each sequence, as keys or as queries, against all tokens; none if they are 0.

    By fused attention.

    Args:
        workload: the call.
        name: what is computed, in words.
        num_globals: the tokens.
        layers: how many layers have them.
    """
    if not num_globals:
        return []
    rows = (Factor("g", num_globals), formulas.tokens(workload))
    heads, head_dim = Factor("H", workload.num_heads), Factor("d", workload.head_dim)

    def term(name: str, passes: Factor | int, *width: Factor) -> MacTerm:
        factors = (*rows, *width)
        return formulas.term(workload, "global_tokens", name, factors, passes=passes, layers=layers)

    if workload.has_equal_widths:
        width = Factor("D", workload.hidden_size)
        return [term(name, fused_products(workload), width)]
    if workload.value_dim == workload.head_dim:
        return [term(name, fused_products(workload), heads, head_dim)]
    value_dim = formulas.value_factor(workload)
    return [
        term(f"{name}, scores", fused_scores_passes(workload), heads, head_dim),
        term(f"{name}, context", formulas.training_passes(workload), heads, value_dim),
    ]


def fused_blocks(
    workload: Workload, forward: tuple[BlockRun, ...], backward: tuple[BlockRun, ...]
) -> tuple[ComputedBlocks, ...]:
    """The blocks that fused attention computes in each pass.

    Args:
        workload: the call.
        forward: blocks of the forward pass.
        backward: blocks of the backward pass, which are not computed in inference.
    """
    head_dim, value_dim = workload.head_dim, workload.value_dim
    is_training = workload.mode == "training"
    # In the backward pass, the scores again and their two gradients; two gradients of the context.
    blocks = (
        ComputedBlocks(runs=forward, context=0, features=head_dim),
        ComputedBlocks(runs=forward, scores=0, features=value_dim),
        ComputedBlocks(runs=backward, scores=0, context=0, backward=3, features=head_dim),
        ComputedBlocks(runs=backward, scores=0, context=0, backward=2, features=value_dim),
    )
    if value_dim == head_dim:
        products = formulas.BACKWARD_PRODUCTS
        blocks = (
            ComputedBlocks(runs=forward, features=head_dim),
            ComputedBlocks(
                runs=backward, scores=0, context=0, backward=products, features=head_dim
            ),
        )
    return tuple(one for one in blocks if one.runs and (is_training or not one.backward))


def projection_sets(layer: AttentionPattern) -> int:
    """Sets of Q, K and V projections of one attention: one more where tokens are global."""
    return 2 if layer.symmetric_globals else 1
