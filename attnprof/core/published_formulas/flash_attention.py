"""The FLOPs that FlashAttention's benchmarks divide by time: half of them where it is causal.

Source: github.com/Dao-AILab/flash-attention, benchmarks/benchmark_flash_attention.py, `flops`:
4 b n^2 H d, divided by 2 if causal; 2.5 times that in the backward pass, where the scores are
computed again. It is the attention of one layer alone; here once for each layer.
"""

from __future__ import annotations

from fractions import Fraction

from attnprof.core.published_formulas import _differences as parts
from attnprof.core.published_formulas._sizes import ModelSizes
from attnprof.core.workload import Workload

title = "FlashAttention"
expression = "4·b·n²·H·d, half if causal; 3.5 times in training"
source = "Dao-AILab/flash-attention, benchmarks/benchmark_flash_attention.py, flops"

_FORWARD_BACKWARD = Fraction(7, 2)


def flops(sizes: ModelSizes) -> Fraction:
    """The formula for each layer."""
    passes = _FORWARD_BACKWARD if sizes.is_training else Fraction(1)
    return sizes.layers * _forward(sizes) * passes


def differences(workload: Workload, sizes: ModelSizes) -> parts.Differences:
    """No products with weights; the causal half, windows; in training the recomputed scores."""
    counted = Fraction(parts.counted_widths(workload, 2 * sizes.head_dim))
    forward: dict[str, Fraction | int] = {
        parts.WEIGHTS: -parts.products_with_weights(workload),
        parts.WITHOUT_WINDOWS: parts.without_windows(workload),
        parts.HEAD_WIDTHS: counted / 2 if sizes.is_causal else counted,
    }
    if sizes.is_causal:
        forward |= parts.causal_half(workload)
    found = parts.named(sizes, forward)
    if sizes.is_training:
        # A quarter of the FLOPs of the forward pass are the MACs of its scores.
        found[parts.RECOMPUTED] = Fraction(sizes.layers * _forward(sizes), 4)
    return found


def _forward(sizes: ModelSizes) -> int:
    full = 4 * sizes.batch_size * sizes.seq_len**2 * sizes.heads * sizes.head_dim
    return full // (2 if sizes.is_causal else 1)
