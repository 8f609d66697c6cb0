"""Useful MACs and parameters in closed form: what a pattern needs, whatever a kernel makes of it.

Per layer of self-attention as `BertSelfAttention` draws it: query, key and value projections and
the attention itself, without the output projection. b = batch, n = seq_len, D = hidden_size,
d = head_dim, g = number of global positions.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnprof.pattern import AttentionPattern
    from attnprof.workload import Workload

TRAINING_FACTOR = 3
"""Forward + backward in units of the forward: a product C = A B has the gradient products
dA = dC B' and dB = A' dC, each with as many MACs as C. Nothing is recomputed."""


def projection_macs(workload: Workload, layer: AttentionPattern) -> int:
    """Forward MACs of one layer's projections: 3 b n D^2, and b (2 n D^2 + g D^2) with globals.

    The globals' second set of projections applies keys and values to all tokens and queries to the
    global ones, as in the paper (section 3.1) and in transformers' `LongformerSelfAttention`.
    """
    rows = 3 * workload.seq_len
    if layer.global_positions:
        rows += 2 * workload.seq_len + len(layer.global_positions)
    return workload.batch_size * rows * workload.hidden_size**2


def attention_macs(workload: Workload, layer: AttentionPattern) -> int:
    """Forward MACs of one layer's attention: 2 b d pairs; dense, that is 2 b n^2 D."""
    return 2 * workload.batch_size * workload.head_dim * layer.pairs(workload.seq_len)


def useful_macs(workload: Workload) -> int:
    """MACs that the pattern needs in all layers: projections and attention."""
    forward = sum(
        count * (projection_macs(workload, layer) + attention_macs(workload, layer))
        for layer, count in Counter(workload.layers).items()
    )
    return forward * (TRAINING_FACTOR if workload.mode == "training" else 1)


def projection_parameters(workload: Workload, projections: int) -> int:
    """Parameters of that many square projections with bias: each D^2 + D."""
    return projections * workload.hidden_size * (workload.hidden_size + 1)
