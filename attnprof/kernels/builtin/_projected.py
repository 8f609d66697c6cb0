"""What `longformer-masked` and `longformer-flex` share: projections, and rows of global tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnprof.core import formulas
from attnprof.core.blocks import BlockRun, ComputedBlocks, rows_of
from attnprof.core.mac_terms import MacTerm
from attnprof.core.mask_counts import mask_counts
from attnprof.core.mask_pattern import MaskPattern
from attnprof.kernels.builtin._features import Feature, unsupported_feature
from attnprof.kernels.builtin._mac_factors import (
    fused_backward_products,
    fused_blocks,
    global_pair_terms,
    projection_sets,
)

if TYPE_CHECKING:
    from attnprof.core.pattern import AttentionPattern
    from attnprof.core.workload import Workload
    from attnprof.nn.projected_attention import HeadShape

_FEATURES: tuple[Feature, ...] = (
    *("causal", "unequal sides", "grouped heads", "free widths"),
    "mask function",
)
"""Features that both have."""


def unsupported_pattern(workload: Workload, *features: Feature) -> str | None:
    """Why neither of the two kernels can run a workload, None if they can.

    Args:
        workload: the call.
        features: that only the kernel in question has.
    """
    if workload.is_dense and not workload.pattern.causal:
        return "computes a pattern under a mask, not dense attention"
    unsupported = unsupported_feature(workload, (*_FEATURES, *features))
    if unsupported:
        return unsupported
    for layer in dict.fromkeys(workload.layers):
        if isinstance(layer, MaskPattern):
            counts = mask_counts(layer.function, layer.num_heads, workload.seq_len)
            if counts.has_empty_rows:
                return "needs a key for every query: softmax of none is not defined"
    return None


def head_shape(workload: Workload) -> HeadShape:
    """Sizes of each attention."""
    from attnprof.nn.projected_attention import HeadShape

    return HeadShape(
        hidden_size=workload.hidden_size,
        num_heads=workload.num_heads,
        kv_heads=workload.kv_heads,
        head_dim=workload.head_dim,
        value_dim=workload.value_dim,
    )


def parameters(workload: Workload) -> int:
    """Parameters of three projections per layer, six where there are global tokens."""
    sets = sum(projection_sets(layer) for layer in workload.layers)
    return formulas.parameters(workload, sets)


def masks_of(layer: AttentionPattern) -> int:
    """Masks of a layer: one, or one per head where heads differ."""
    if isinstance(layer, MaskPattern):
        return layer.num_heads if layer.depends_on_head else 1
    return layer.num_heads if len(set(layer.dilation)) > 1 else 1


def global_row_terms(workload: Workload) -> list[MacTerm]:
    """Queries of global tokens against all tokens, by fused attention; none without any."""
    layers = formulas.layers_with_globals(workload)
    return global_pair_terms(workload, "global queries", formulas.num_globals(workload), layers)


def computed_blocks(
    workload: Workload, layer: AttentionPattern, runs: tuple[BlockRun, ...]
) -> tuple[ComputedBlocks, ...]:
    """Blocks of fused attention, and the rows of global tokens.

    Args:
        workload: the call.
        layer: the pattern.
        runs: the blocks without the rows of global tokens.
    """
    runs = (*runs, *rows_of(layer.symmetric_globals, workload.seq_len))
    if workload.value_dim != workload.head_dim:
        return fused_blocks(workload, runs, runs)
    backward = fused_backward_products(workload)
    return (ComputedBlocks(runs=runs, backward=backward, features=workload.head_dim),)
