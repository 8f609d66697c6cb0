"""Chinchilla's table of FLOPs by operation.

Source: Hoffmann et al., Training Compute-Optimal Large Language Models, arXiv 2203.15556, appendix
F. Of one sequence: embeddings 2 T V D; in each layer Q, K, V 2 * 3 T D (k H), logits 2 T^2 (k H),
softmax 3 H T^2, values 2 T^2 (k H), output 2 T (k H) D, feed-forward 2 T (D F + D F); final logits
2 T D V. The backward pass is twice the forward pass.
"""

from __future__ import annotations

from fractions import Fraction

from attnprof.core.published_formulas import _differences as parts
from attnprof.core.published_formulas._per_parameter import (
    full_attention_differences,
    logit_macs,
)
from attnprof.core.published_formulas._sizes import ModelSizes
from attnprof.core.workload import Workload

title = "Chinchilla"
expression = "a table by operation, softmax and embeddings included"
source = "arXiv 2203.15556, appendix F"


def flops(sizes: ModelSizes) -> Fraction:
    """The sum of the table; three times that in training."""
    n, hidden = sizes.seq_len, sizes.hidden_size
    width = sizes.head_dim * sizes.heads
    embeddings = 2 * n * sizes.vocab_size * hidden
    attention = (
        2 * 3 * n * hidden * width
        + 2 * n * n * width
        + 3 * sizes.heads * n * n
        + 2 * n * n * width
        + 2 * n * width * hidden
    )
    feed_forward = 2 * n * (hidden * sizes.feed_forward + hidden * sizes.feed_forward)
    logits = 2 * n * hidden * sizes.vocab_size
    forward = embeddings + sizes.layers * (attention + feed_forward) + logits
    return Fraction(sizes.batch_size * forward * sizes.passes)


def differences(workload: Workload, sizes: ModelSizes) -> parts.Differences:
    """Softmax, full attention, ungrouped heads, values as wide as keys, global tokens, logits."""
    full = full_attention_differences(workload, 2 * sizes.head_dim)
    widths = full.pop(parts.HEAD_WIDTHS) + parts.value_widths(workload, sizes.heads)
    rows = sizes.tokens * sizes.layers
    missing_heads = sizes.heads - sizes.kv_heads
    grouped = sizes.hidden_size * missing_heads * (sizes.head_dim + sizes.value_dim)
    softmax = Fraction(3 * rows * sizes.heads * sizes.seq_len, 2)
    return parts.named(
        sizes,
        {
            **full,
            parts.GROUPED_HEADS: rows * grouped,
            parts.HEAD_WIDTHS: widths,
            parts.SOFTMAX: softmax,
            parts.GLOBAL_PROJECTIONS: -parts.global_projections(workload),
            parts.OUTSIDE_SCOPE: parts.outside_scope(workload),
            parts.EMBEDDING: logit_macs(sizes),
            parts.LOGITS: logit_macs(sizes),
        },
    )
