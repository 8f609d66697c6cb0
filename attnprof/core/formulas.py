"""Useful MACs and parameters in closed form: what a pattern needs, whatever a kernel executes.

With scope `attention`, a layer is what transformers' `BertSelfAttention` computes: the query, key
and value projections and the attention itself. With scope `layer`, it is `BertLayer`: also the
output projection, and the feed-forward, which is four times as wide. b = batch, n = seq_len,
D = hidden_size, d = head_dim, g = number of global positions.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnprof.core.pattern import AttentionPattern
    from attnprof.core.workload import Workload

TRAINING_FACTOR = 3
"""MACs of forward and backward, in units of the forward: a product C = A B has the gradients
dA = dC B' and dB = A' dC, each with as many MACs as C. Nothing is recomputed."""

FORWARD_PRODUCTS = 2
"""Matrix products of attention in the forward pass: scores and context."""

BACKWARD_PRODUCTS = 5
"""Matrix products of fused attention in the backward pass: the scores again, and the gradients of
weights, values, queries and keys."""


def projection_macs(workload: Workload, layer: AttentionPattern) -> int:
    """Forward MACs of a layer's query, key and value projections.

    3 b n D^2; with global tokens another b (2 n D^2 + g D^2). Global tokens have a second set of
    projections: keys and values of all tokens, queries of the global tokens only (Longformer,
    arXiv 2004.05150, section 3.1; transformers' `LongformerSelfAttention`).
    """
    window = 3 * workload.batch_size * workload.seq_len * workload.hidden_size**2
    return window + global_projection_macs(workload, layer)


def global_projection_macs(workload: Workload, layer: AttentionPattern) -> int:
    """Forward MACs of the global tokens' own projections, b (2 n D^2 + g D^2); 0 without any."""
    if not layer.global_positions:
        return 0
    rows = 2 * workload.seq_len + len(layer.global_positions)
    return workload.batch_size * rows * workload.hidden_size**2


def rest_of_layer_macs(workload: Workload) -> int:
    """Forward MACs of a whole layer outside its attention: 9 b n D^2; 0 with scope `attention`.

    The output projection takes b n D^2, the feed-forward 2 b n D 4D.
    """
    if workload.scope == "attention":
        return 0
    row = workload.hidden_size * (workload.hidden_size + 2 * workload.intermediate_size)
    return workload.batch_size * workload.seq_len * row


def weight_macs(workload: Workload, layer: AttentionPattern) -> int:
    """Forward MACs of one layer's products with weights, that is all but q k' and p v."""
    return projection_macs(workload, layer) + rest_of_layer_macs(workload)


def attention_macs(workload: Workload, layer: AttentionPattern) -> int:
    """Forward MACs of one layer's attention, 2 b d per attended pair; 2 b n^2 D if dense."""
    return 2 * workload.batch_size * workload.head_dim * layer.pairs(workload.seq_len)


def useful_macs(workload: Workload) -> int:
    """MACs that the pattern needs in all layers: products with weights and attention."""
    forward = sum(
        count * (weight_macs(workload, layer) + attention_macs(workload, layer))
        for layer, count in Counter(workload.layers).items()
    )
    return forward * (TRAINING_FACTOR if workload.mode == "training" else 1)


def parameters(workload: Workload, projections: int) -> int:
    """Parameters of all layers.

    Args:
        workload: its scope and layers.
        projections: projections of all attentions together, each with D^2 + D parameters.
    """
    attentions = projections * workload.hidden_size * (workload.hidden_size + 1)
    return attentions + len(workload.layers) * rest_of_layer_parameters(workload)


def rest_of_layer_parameters(workload: Workload) -> int:
    """Parameters of one whole layer outside its attention; 0 with scope `attention`.

    9 D^2 + 10 D: the output projection and the feed-forward with their biases, and two layer norms.
    """
    if workload.scope == "attention":
        return 0
    hidden, intermediate = workload.hidden_size, workload.intermediate_size
    output = hidden * (hidden + 1)
    feed_forward = intermediate * (hidden + 1) + hidden * (intermediate + 1)
    layer_norms = 2 * 2 * hidden
    return output + feed_forward + layer_norms


def projected_global_macs(seq_len: int, hidden_size: int, num_globals: int) -> int:
    """MACs of the global rows of one sequence if keys and values of all tokens are projected.

    2 n D^2 for the projections, 2 g n D for scores and context; the query projection not included.
    """
    return 2 * seq_len * hidden_size**2 + 2 * num_globals * seq_len * hidden_size


def absorbed_global_macs(seq_len: int, hidden_size: int, num_heads: int, num_globals: int) -> int:
    """MACs of the global rows of one sequence if the projections are absorbed.

    q (W x)' = (q W) x': the g queries and contexts are projected instead of keys and values, with
    2 g D^2; scores and context are then computed for each head over all D features, with 2 g H n D.
    """
    return 2 * num_globals * (hidden_size**2 + num_heads * seq_len * hidden_size)


def should_absorb_projection(
    seq_len: int, hidden_size: int, num_heads: int, num_globals: int
) -> bool:
    """Whether absorbing the projections takes fewer MACs, as it does with few global tokens."""
    return absorbed_global_macs(
        seq_len, hidden_size, num_heads, num_globals
    ) < projected_global_macs(seq_len, hidden_size, num_globals)
