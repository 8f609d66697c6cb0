"""torchtitan's FLOPs for each token: 6 N + 6 L H (d + e) T, without the embedding in N.

Source: github.com/pytorch/torchtitan, torchtitan/models/utils.py,
`get_dense_model_nparams_and_flops`; before, torchtitan/utils.py, `get_num_flop_per_token`, with
12 L H Q T. It says that it follows the convention not to account for causal attention.
"""

from __future__ import annotations

from fractions import Fraction

from attnprof.core.published_formulas._differences import Differences
from attnprof.core.published_formulas._per_parameter import training_differences, training_flops
from attnprof.core.published_formulas._sizes import ModelSizes
from attnprof.core.workload import Workload

title = "torchtitan"
expression = "6N + 6·L·H·(d + e)·T a token"
source = "pytorch/torchtitan, models/utils.py, get_dense_model_nparams_and_flops"


def flops(sizes: ModelSizes) -> Fraction:
    """The formula; a third of it for the forward pass alone. The output layer is a parameter."""
    attention = 6 * sizes.layers * sizes.heads * _head_dims(sizes) * sizes.seq_len
    return training_flops(sizes, attention)


def differences(workload: Workload, sizes: ModelSizes) -> Differences:
    """Parameters that no product has, causal attention and windows, the output layer."""
    return training_differences(workload, sizes, _head_dims(sizes))


def _head_dims(sizes: ModelSizes) -> int:
    """Widths of a head of keys and of values together, as its argument `head_dims`."""
    return sizes.head_dim + sizes.value_dim
