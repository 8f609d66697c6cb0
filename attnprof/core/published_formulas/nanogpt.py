"""nanoGPT's `estimate_mfu`: PaLM's formula with heads of width n_embd // n_head.

Source: github.com/karpathy/nanoGPT, model.py, `GPT.estimate_mfu`, at commit 3adf61e. N is
`get_num_params()`, which leaves position embeddings out; the token embedding is also the output
layer.
"""

from __future__ import annotations

from fractions import Fraction

from attnprof.core.published_formulas._differences import Differences
from attnprof.core.published_formulas._per_parameter import training_differences, training_flops
from attnprof.core.published_formulas._sizes import ModelSizes
from attnprof.core.workload import Workload

title = "nanoGPT"
expression = "6N + 12·L·H·(D/H)·T a token"
source = "karpathy/nanoGPT, model.py, estimate_mfu"


def flops(sizes: ModelSizes) -> Fraction:
    """The formula; a third of it for the forward pass alone."""
    attention = 12 * sizes.layers * sizes.heads * _head_width(sizes) * sizes.seq_len
    return training_flops(sizes, attention)


def differences(workload: Workload, sizes: ModelSizes) -> Differences:
    """As of PaLM's formula; and heads that are not hidden_size / heads wide."""
    return training_differences(workload, sizes, 2 * _head_width(sizes))


def _head_width(sizes: ModelSizes) -> int:
    return sizes.hidden_size // sizes.heads
