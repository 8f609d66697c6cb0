"""Megatron-LM's `num_floating_point_operations`, of a dense model without gates.

Source: github.com/NVIDIA/Megatron-LM, megatron/training/training.py, function `transformer_flops`
inside it, at commit 001b00c. Every attention counts as half of n^2, and windows as no window. For
3 projections, attention, output projection and feed-forward it counts, with P = kv_channels:
6 B s (h (P a + 2 P g) + P a s + P a h + 2 h f) a layer, and 6 B s h v for the logits.
"""

from __future__ import annotations

from fractions import Fraction

from attnprof.core.published_formulas import _differences as parts
from attnprof.core.published_formulas._per_parameter import TRAINING_SHARE, logit_macs
from attnprof.core.published_formulas._sizes import ModelSizes
from attnprof.core.workload import Workload

title = "Megatron-LM"
expression = "6·B·s·(L·(qkv + a·d·s + out + 2·h·f) + h·v)"
source = "NVIDIA/Megatron-LM, megatron/training/training.py, num_floating_point_operations"


def flops(sizes: ModelSizes) -> Fraction:
    """The formula; a third of it for the forward pass alone."""
    query_size = sizes.head_dim * sizes.heads
    key_size = value_size = sizes.head_dim * sizes.kv_heads
    attention = (
        sizes.hidden_size * (query_size + key_size + value_size)
        + Fraction(query_size * sizes.seq_len, 2) * 2
        + query_size * sizes.hidden_size
    )
    feed_forward = 2 * sizes.hidden_size * sizes.feed_forward
    logits = sizes.hidden_size * sizes.vocab_size
    weights = sizes.layers * (attention + feed_forward) + logits
    return 6 * sizes.tokens * weights * sizes.passes / TRAINING_SHARE


def differences(workload: Workload, sizes: ModelSizes) -> parts.Differences:
    """Half of n^2, windows, values as wide as keys, global projections, logits."""
    widths = Fraction(parts.counted_widths(workload, 2 * sizes.head_dim), 2)
    return parts.named(
        sizes,
        {
            **parts.causal_half(workload),
            parts.WITHOUT_WINDOWS: parts.without_windows(workload),
            parts.HEAD_WIDTHS: widths + parts.value_widths(workload, sizes.kv_heads),
            parts.GLOBAL_PROJECTIONS: -parts.global_projections(workload),
            parts.OUTSIDE_SCOPE: parts.outside_scope(workload),
            parts.LOGITS: logit_macs(sizes),
        },
    )
