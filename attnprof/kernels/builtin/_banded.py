"""What `longformer-banded` and `longformer-triton` share: one module, global rows, its memory."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from attnprof.core import formulas
from attnprof.core.blocks import ComputedBlocks, rows_of
from attnprof.core.global_queries import GlobalQueries
from attnprof.core.mac_terms import Factor, MacTerm
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.kernels.builtin._mac_factors import (
    backward_products,
    fused_blocks,
    global_pair_terms,
)

if TYPE_CHECKING:
    import torch

    from attnprof.nn.banded.implementation import Implementation


def has_global_rows(layer: AttentionPattern) -> bool:
    """Whether a layer has a second set of projections: for global tokens, even if it has none."""
    return not layer.causal and not layer.is_dense


def parameters(workload: Workload) -> int:
    """Parameters of six projections per layer, as in transformers' class; of three if causal."""
    sets = sum(1 + has_global_rows(layer) for layer in workload.layers)
    return formulas.parameters(workload, sets)


def layer_makers(
    workload: Workload, implementation: Implementation
) -> tuple[Callable[[int, AttentionPattern], Any], Callable[[torch.Tensor], dict[str, Any]]]:
    """What makes each `LongformerSelfAttention`, without dropout, and the call's arguments.

    Args:
        workload: the call.
        implementation: what computes its attention.
    """
    from attnprof.nn.longformer import LongformerSelfAttention

    config = SimpleNamespace(
        hidden_size=workload.hidden_size,
        num_attention_heads=workload.num_heads,
        num_key_value_heads=workload.kv_heads,
        head_dim=workload.head_dim,
        v_head_dim=workload.value_dim,
        attention_window=[_window(layer) for layer in workload.layers],
        attention_probs_dropout_prob=0.0,
    )

    def make_layer(index: int, layer: AttentionPattern) -> Any:
        attention = LongformerSelfAttention(
            config,
            index,
            dilation=layer.dilation,
            causal=layer.causal,
            implementation=implementation,
        )
        attention.ignores_hooks = True  # the only hooks here are a counter's
        return attention

    def make_kwargs(hidden_states: torch.Tensor) -> dict[str, Any]:
        sparse = next(layer for layer in workload.layers if not layer.is_dense)
        return {"global_positions": sparse.global_positions}

    return make_layer, make_kwargs


def _window(layer: AttentionPattern) -> tuple[int, int] | None:
    """Keys before and after a query; None if the layer is dense."""
    if layer.left is None or layer.right is None:
        return None
    return layer.left, layer.right


def global_query_terms(workload: Workload) -> list[MacTerm]:
    """The queries' projection, and keys and values projected or absorbed."""
    g = formulas.num_globals(workload)
    if g == 0:
        return []
    layers = formulas.layers_with_globals(workload)
    layer = next(layer for layer in workload.layers if layer.symmetric_globals)
    if not GlobalQueries.of(workload, layer).is_absorbed:
        return [
            *formulas.global_projection_terms(workload),
            *global_pair_terms(workload, "global queries", g, layers),
        ]
    num, width = Factor("g", g), Factor("D", workload.hidden_size)
    heads, head_dim = Factor("H", workload.num_heads), Factor("d", workload.head_dim)

    def term(name: str, *factors: Factor | int) -> MacTerm:
        return formulas.term(workload, "global_tokens", name, factors, layers=layers)

    # Queries are projected, then multiplied with the projection of keys; contexts with that of
    # values.
    projections: tuple[Factor | int, ...] = (3, num, width, heads, head_dim)
    if workload.has_equal_widths:
        projections = (3, num, Factor("D", workload.hidden_size, 2))
    elif workload.value_dim != workload.head_dim:
        widths = Factor("(2d+e)", 2 * workload.head_dim + workload.value_dim)
        projections = (num, width, heads, widths)
    return [
        term("absorbed projection", *projections),
        term("global queries", 2, num, heads, formulas.tokens(workload), width),
    ]


def global_row_blocks(workload: Workload, layer: AttentionPattern) -> tuple[ComputedBlocks, ...]:
    """The blocks of global tokens as queries of all keys."""
    rows = rows_of(layer.symmetric_globals, workload.seq_len)
    if GlobalQueries.of(workload, layer).is_absorbed:
        of_rows = ComputedBlocks(
            runs=rows, backward=backward_products(workload), features=workload.hidden_size
        )
        return (of_rows,)
    return fused_blocks(workload, rows, rows)
