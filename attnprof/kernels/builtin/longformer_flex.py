"""PyTorch's FlexAttention, compiled, with a block mask of the pattern."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Any, Literal

from attnprof.core import formulas
from attnprof.core.blocks import ComputedBlocks, rows_of
from attnprof.core.cpu import cpu_threads
from attnprof.core.mac_terms import Factor, MacTerm, Part, total_macs
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._build import build_call, no_padding
from attnprof.kernels.builtin._features import unsupported_feature
from attnprof.kernels.builtin._mac_factors import (
    computed_scores,
    fused_backward_products,
    fused_products,
    fused_scores_passes,
    global_term,
    projection_sets,
)
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    activation_bytes,
    flash_cpu_forward_bytes,
    log_sum_exp_bytes,
    parameter_and_input_bytes,
    stack_peak_bytes,
)
from attnprof.nn.block_mask import BLOCK, block_runs, block_scores

name = "longformer-flex"
summary = "any pattern; PyTorch's FlexAttention, compiled, with the pattern's block mask"
source = (
    "Longformer, arXiv 2004.05150, section 3.1; torch, FlexAttention; attnprof/nn/block_mask.py"
)
pattern_support: Literal["dense", "pattern"] = "pattern"
ptflops_misses = ""
needs_compilation = True
has_float32_softmax = False

padding_multiple = no_padding

_COMPILERS = ("g++", "clang++", "c++")


def unsupported_reason(workload: Workload) -> str | None:
    """Supports every sparse pattern; on CPU only inference, and only with a C++ compiler."""
    if any(layer.is_dense for layer in workload.layers):
        return "computes a sliding window, not dense attention"
    unsupported = unsupported_feature(workload)
    if unsupported:
        return unsupported
    if workload.dtype == "float64":
        return "FlexAttention has no float64"
    if workload.device == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "FlexAttention on CUDA needs triton, which is not installed"
        return None
    if workload.mode == "training":
        return "FlexAttention has no backward pass on CPU"
    compilers = (os.environ.get("CXX", ""), *_COMPILERS)
    if not any(shutil.which(compiler) for compiler in compilers):
        return "FlexAttention on CPU needs a C++ compiler, and none was found"
    return None


def build(workload: Workload) -> Call:
    """Projections and FlexAttention, which the first run of the call compiles."""
    from attnprof.nn.flex import FlexSelfAttention

    def make_layer(index: int, layer: AttentionPattern) -> Any:
        return FlexSelfAttention(workload.hidden_size, layer, workload.seq_len)

    return build_call(workload, workload.seq_len, make_layer)


def parameters(workload: Workload) -> int:
    """Parameters of three projections per layer, six where there are global tokens."""
    sets = sum(projection_sets(layer) for layer in workload.layers)
    return formulas.parameters(workload, sets)


def mac_terms(workload: Workload) -> list[MacTerm]:
    """Projections, all 128 by 128 blocks with an attended pair, and the global rows."""
    terms = formulas.weight_terms(workload)
    for layer, layers, suffix in formulas.layer_groups(workload):
        factors = computed_scores(workload, block_scores(layer, workload.seq_len))
        products: tuple[tuple[Part, Factor | int], ...] = (
            ("scores", fused_scores_passes(workload)),
            ("context", formulas.training_passes(workload)),
        )
        for part, passes in products:
            name = f"{part}{suffix}"
            terms.append(formulas.term(workload, part, name, factors, passes=passes, layers=layers))
    return [*terms, *global_term(workload, "global queries", fused_products(workload))]


def executed_macs(workload: Workload) -> int:
    """The sum of `mac_terms`."""
    return total_macs(mac_terms(workload))


def blocks(workload: Workload, layer: AttentionPattern, head: int) -> tuple[ComputedBlocks, ...]:
    """All 128 by 128 blocks with an attended pair, and the rows of global tokens."""
    n = workload.seq_len
    runs = (
        *block_runs(layer, layer.dilation[head], n),
        *rows_of(layer.global_positions, n),
    )
    return (
        ComputedBlocks(
            runs=runs, backward=fused_backward_products(workload), features=workload.head_dim
        ),
    )


def static_bytes(workload: Workload) -> int:
    """Bytes of parameters, hidden states and block masks: 32-bit indices, by query and by key."""
    blocks = -(-workload.seq_len // BLOCK)
    block_masks = sum(
        4 * 4 * blocks * (blocks + 1) * (layer.num_heads if len(set(layer.dilation)) > 1 else 1)
        for layer in workload.layers
    )
    return parameter_and_input_bytes(workload, parameters(workload)) + block_masks


def peak_bytes(workload: Workload) -> int:
    """Peak bytes: query, key, value, output; on CPU also two copies in another layout, buffers."""
    return stack_peak_bytes(workload, _layer_memory)


def _layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    n, g = workload.seq_len, len(layer.global_positions)
    activation = activation_bytes(workload, n)
    if workload.device == "cuda":
        return LayerMemory(forward=4 * activation + log_sum_exp_bytes(workload, n))
    rows = 3 * activation_bytes(workload, g) + flash_cpu_forward_bytes(workload, g, n) if g else 0
    return LayerMemory(forward=6 * activation + max(_compiled_buffer_bytes(workload), rows))


def _compiled_buffer_bytes(workload: Workload) -> int:
    """Buffers of all threads: a block of scores, statistics and outputs, and blocks of inputs."""
    size, head_dim, block = workload.dtype_bytes, workload.head_dim, min(BLOCK, workload.seq_len)
    per_thread = 4 * block * (block + 2 + head_dim) + size * block * (block + 2 * head_dim)
    return cpu_threads() * per_thread
