"""transformers' `BertSelfAttention` on torch's fused attention: no tensor of n^2 numbers."""

from __future__ import annotations

from typing import Literal

from attnprof.core import formulas
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin import _bert
from attnprof.kernels.builtin._bert import parameters, static_bytes, unsupported_reason
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    activation_bytes,
    flash_cpu_backward_bytes,
    flash_cpu_forward_bytes,
    has_residual,
    log_sum_exp_bytes,
    projection_backward_bytes,
    stack_peak_bytes,
    weight_bytes,
)

__all__ = [
    "build",
    "executed_macs",
    "has_float32_softmax",
    "name",
    "needs_compilation",
    "padding_multiple",
    "parameters",
    "pattern_support",
    "peak_bytes",
    "ptflops_misses",
    "static_bytes",
    "summary",
    "unsupported_reason",
]

name = "bert-sdpa"
summary = "dense; transformers' BertSelfAttention on torch's fused attention"
pattern_support: Literal["dense", "pattern"] = "dense"
ptflops_misses = "scaled_dot_product_attention"
needs_compilation = False
has_float32_softmax = False


def build(workload: Workload) -> Call:
    """`BertSelfAttention` under `sdpa`."""
    return _bert.build(workload, "sdpa")


def padding_multiple(workload: Workload) -> int:
    """Pads nothing."""
    return 1


def executed_macs(workload: Workload) -> int:
    """What dense attention needs; the fused backward multiplies the scores once more."""
    useful = formulas.useful_macs(workload)
    if workload.mode == "inference":
        return useful
    attention = sum(formulas.attention_macs(workload, layer) for layer in workload.layers)
    return useful + attention // 2


def peak_bytes(workload: Workload) -> int:
    """Query, key, value and output, and the buffers inside the fused operator."""
    return stack_peak_bytes(workload, workload.seq_len, _layer_memory)


def _layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    n = workload.seq_len
    activation = activation_bytes(workload, n)
    weight = weight_bytes(workload)
    statistics = log_sum_exp_bytes(workload, n)
    on_cpu = workload.device == "cpu"
    return LayerMemory(
        # query, key, value, output
        forward=4 * activation
        + (flash_cpu_forward_bytes(workload, n, n) if on_cpu else statistics),
        saved=4 * activation + statistics,
        # query, key, value and their gradients
        output_backward=6 * activation
        + statistics
        + (flash_cpu_backward_bytes(workload, n, n) if on_cpu else statistics),
        projection_backward=projection_backward_bytes(
            activation, weight, has_residual=has_residual(workload)
        ),
        output_is_saved=True,
        gradients=_bert.PROJECTIONS * weight,
    )
