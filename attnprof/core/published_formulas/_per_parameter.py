"""What formulas have in common that multiply the number of parameters by that of tokens."""

from __future__ import annotations

from fractions import Fraction

from attnprof.core.published_formulas import _differences as parts
from attnprof.core.published_formulas._sizes import ModelSizes
from attnprof.core.workload import Workload

TRAINING_SHARE = 3
"""Formulas for training divide by this for the forward pass alone."""


def training_flops(sizes: ModelSizes, attention: int) -> Fraction:
    """6 N + attention FLOPs for each token, N with the output layer; a third for a forward pass.

    Args:
        sizes: of the model.
        attention: FLOPs of attention for each token in training.
    """
    parameters = sizes.parameters + sizes.logit_weights
    training = sizes.tokens * (6 * parameters + attention)
    return Fraction(training * sizes.passes, TRAINING_SHARE)


def training_differences(workload: Workload, sizes: ModelSizes, width: int) -> parts.Differences:
    """How `training_flops` differs: full attention, parameters without a product, output layer.

    Args:
        workload: the call.
        sizes: of the model.
        width: what the formula counts as d + e.
    """
    return parts.named(
        sizes,
        {
            **full_attention_differences(workload, width),
            **parameter_differences(workload),
            parts.LOGITS: logit_macs(sizes),
        },
    )


def parameter_differences(workload: Workload) -> dict[str, int]:
    """How tokens times parameters differs from the products with weights, in a forward pass."""
    return {
        parts.BIASES: parts.biases(workload),
        parts.GLOBAL_QUERIES: parts.global_queries(workload),
    }


def full_attention_differences(workload: Workload, width: int) -> dict[str, int]:
    """How dense attention of all layers differs from the attended pairs, in a forward pass.

    Args:
        workload: the call.
        width: what the formula counts as d + e.
    """
    return {
        parts.CAUSAL_IN_FULL: parts.causal_in_full(workload),
        parts.WITHOUT_WINDOWS: parts.without_windows(workload),
        parts.HEAD_WIDTHS: parts.counted_widths(workload, width),
    }


def logit_macs(sizes: ModelSizes) -> int:
    """Tokens times the weights of the output logits."""
    return sizes.tokens * sizes.logit_weights
