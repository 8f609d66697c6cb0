"""Useful MACs and parameters in closed form: what a pattern needs, whatever a kernel makes of it.

Per layer of self-attention as `BertSelfAttention` draws it: query, key and value projections and
the attention itself. Where the scope is the whole layer, as `BertLayer` draws it: also the output
projection, and the feed-forward, four times as wide. b = batch, n = seq_len, D = hidden_size,
d = head_dim, g = number of global positions.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnprof.core.pattern import AttentionPattern
    from attnprof.core.workload import Workload

TRAINING_FACTOR = 3
"""Forward + backward in units of the forward: a product C = A B has the gradient products
dA = dC B' and dB = A' dC, each with as many MACs as C. Nothing is recomputed."""

FORWARD_PRODUCTS = 2
"""Matrix products of attention in the forward pass: scores and context."""

BACKWARD_PRODUCTS = 5
"""Matrix products of fused attention in the backward pass: the scores again, and the gradients of
weights, values, queries and keys."""


def projection_macs(workload: Workload, layer: AttentionPattern) -> int:
    """Forward MACs of one attention's projections: 3 b n D^2, and b (2 n D^2 + g D^2) with globals.

    The globals' second set of projections applies keys and values to all tokens and queries to the
    global ones, as in the paper (section 3.1) and in transformers' `LongformerSelfAttention`.
    """
    rows = 3 * workload.seq_len
    if layer.global_positions:
        rows += 2 * workload.seq_len + len(layer.global_positions)
    return workload.batch_size * rows * workload.hidden_size**2


def rest_of_layer_macs(workload: Workload) -> int:
    """Forward MACs of what a whole layer has beyond its attention: 9 b n D^2, else none.

    The output projection takes b n D^2, the feed-forward 2 b n D 4D.
    """
    if workload.scope == "attention":
        return 0
    row = workload.hidden_size * (workload.hidden_size + 2 * workload.intermediate_size)
    return workload.batch_size * workload.seq_len * row


def weight_macs(workload: Workload, layer: AttentionPattern) -> int:
    """Forward MACs of one layer's products with weights: all but those of its attention."""
    return projection_macs(workload, layer) + rest_of_layer_macs(workload)


def attention_macs(workload: Workload, layer: AttentionPattern) -> int:
    """Forward MACs of one layer's attention: 2 b d pairs; dense, that is 2 b n^2 D."""
    return 2 * workload.batch_size * workload.head_dim * layer.pairs(workload.seq_len)


def useful_macs(workload: Workload) -> int:
    """MACs that the pattern needs in all layers: products with weights and attention."""
    forward = sum(
        count * (weight_macs(workload, layer) + attention_macs(workload, layer))
        for layer, count in Counter(workload.layers).items()
    )
    return forward * (TRAINING_FACTOR if workload.mode == "training" else 1)


def parameters(workload: Workload, projections: int) -> int:
    """Parameters of all layers, whose attentions have so many projections: each D^2 + D."""
    attentions = projections * workload.hidden_size * (workload.hidden_size + 1)
    return attentions + len(workload.layers) * rest_of_layer_parameters(workload)


def rest_of_layer_parameters(workload: Workload) -> int:
    """Parameters of what one whole layer has beyond its attention: 9 D^2 + 10 D, else none.

    The output projection and the feed-forward with their biases, and two layer norms.
    """
    if workload.scope == "attention":
        return 0
    width, wide = workload.hidden_size, workload.intermediate_size
    output = width * (width + 1)
    feed_forward = wide * (width + 1) + width * (wide + 1)
    layer_norms = 2 * 2 * width
    return output + feed_forward + layer_norms


def projected_global_macs(seq_len: int, hidden_size: int, num_globals: int) -> int:
    """Keys and values of all tokens projected, scores and context; without the queries'."""
    return 2 * seq_len * hidden_size**2 + 2 * num_globals * seq_len * hidden_size


def absorbed_global_macs(seq_len: int, hidden_size: int, num_heads: int, num_globals: int) -> int:
    """Queries and contexts projected, scores and context over whole tokens, for each head."""
    return 2 * num_globals * (hidden_size**2 + num_heads * seq_len * hidden_size)


def should_absorb_projection(
    seq_len: int, hidden_size: int, num_heads: int, num_globals: int
) -> bool:
    """Whether absorbing the projections multiplies less: with few global tokens, it does."""
    return absorbed_global_macs(
        seq_len, hidden_size, num_heads, num_globals
    ) < projected_global_macs(seq_len, hidden_size, num_globals)
