"""transformers' `Trainer.floating_point_ops`: 6 FLOPs for each token and parameter.

Source: github.com/huggingface/transformers, src/transformers/trainer.py (5.x; before,
modeling_utils.py), `floating_point_ops`: 6 * tokens * num_parameters(exclude_embeddings=True). The
weights of an output layer that shares them with the embedding are left out. Attention is neglected,
as in Kaplan et al., arXiv 2001.08361, section 2.1.
"""

from __future__ import annotations

from fractions import Fraction

from attnprof.core.published_formulas import _differences as parts
from attnprof.core.published_formulas._per_parameter import TRAINING_SHARE, parameter_differences
from attnprof.core.published_formulas._sizes import ModelSizes
from attnprof.core.workload import Workload

title = "transformers"
expression = "6N a token"
source = "huggingface/transformers, trainer.py, floating_point_ops"


def flops(sizes: ModelSizes) -> Fraction:
    """The formula; a third of it for the forward pass alone."""
    return Fraction(6 * sizes.tokens * sizes.parameters * sizes.passes, TRAINING_SHARE)


def differences(workload: Workload, sizes: ModelSizes) -> parts.Differences:
    """No attention; parameters that no product has."""
    return parts.named(
        sizes,
        {
            parts.ATTENTION: -parts.attention(workload),
            **parameter_differences(workload),
        },
    )
