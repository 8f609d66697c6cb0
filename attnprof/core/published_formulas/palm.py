"""PaLM's 6 N + 12 L H Q T FLOPs for each token in training.

Source: Chowdhery et al., PaLM, arXiv 2204.02311, appendix B. N is the number of parameters, with
the embedding that is also the output layer; Q the width of a head; T the length. Recomputation is
not counted, nor is it that attention is causal.
"""

from __future__ import annotations

from fractions import Fraction

from attnprof.core.published_formulas._differences import Differences
from attnprof.core.published_formulas._per_parameter import training_differences, training_flops
from attnprof.core.published_formulas._sizes import ModelSizes
from attnprof.core.workload import Workload

title = "PaLM"
expression = "6N + 12·L·H·Q·T a token"
source = "arXiv 2204.02311, appendix B"


def flops(sizes: ModelSizes) -> Fraction:
    """The formula; a third of it for the forward pass alone."""
    attention = 12 * sizes.layers * sizes.heads * sizes.head_dim * sizes.seq_len
    return training_flops(sizes, attention)


def differences(workload: Workload, sizes: ModelSizes) -> Differences:
    """Parameters that no product has, causal attention and windows, the output layer."""
    return training_differences(workload, sizes, 2 * sizes.head_dim)
