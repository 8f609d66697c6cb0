"""PyTorch's FlexAttention, compiled, with a block mask of the pattern."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Any, Literal

from attnprof.core import formulas
from attnprof.core.blocks import ComputedBlocks
from attnprof.core.cpu import cpu_threads
from attnprof.core.mac_terms import Factor, MacTerm, Part, total_macs
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin import _projected
from attnprof.kernels.builtin._build import build_call, no_padding
from attnprof.kernels.builtin._fused import FusedMemory, fused_call, unsupported_on_cuda
from attnprof.kernels.builtin._mac_factors import fused_scores_passes
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    Projected,
    activation_bytes,
    flash_cpu_forward_bytes,
    log_sum_exp_bytes,
    parameter_and_input_bytes,
    stack_peak_bytes,
)
from attnprof.kernels.builtin._projected_memory import projected_memory
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
parameters = _projected.parameters

_COMPILERS = ("g++", "clang++", "c++")


def unsupported_reason(workload: Workload) -> str | None:
    """Supports every sparse pattern; on CPU only inference, and only with a C++ compiler."""
    unsupported = _projected.unsupported_pattern(workload)
    if unsupported:
        return unsupported
    if workload.dtype == "float64":
        return "FlexAttention has no float64"
    if workload.device == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "FlexAttention on CUDA needs triton, which is not installed"
        rows = fused_call(workload, workload.seq_len, workload.seq_len)
        has_rows = any(layer.symmetric_globals for layer in workload.layers)
        return unsupported_on_cuda(workload, rows) if has_rows else None
    if workload.mode == "training":
        return "FlexAttention has no backward pass on CPU"
    compilers = (os.environ.get("CXX", ""), *_COMPILERS)
    if not any(shutil.which(compiler) for compiler in compilers):
        return "FlexAttention on CPU needs a C++ compiler, and none was found"
    return None


def build(workload: Workload) -> Call:
    """Projections and FlexAttention, which the first run of the call compiles."""
    from attnprof.nn.flex import FlexSelfAttention

    shape = _projected.head_shape(workload)

    def make_layer(index: int, layer: AttentionPattern) -> Any:
        return FlexSelfAttention(shape, layer, workload.seq_len)

    return build_call(workload, workload.seq_len, make_layer)


def mac_terms(workload: Workload) -> list[MacTerm]:
    """Projections, all 128 by 128 blocks with an attended pair, and the global rows."""
    terms = formulas.weight_terms(workload)
    for layer, layers, suffix in formulas.layer_groups(workload):
        scores = Factor("S", block_scores(layer, workload.seq_len))
        products: tuple[tuple[Part, Factor | int, Factor], ...] = (
            ("scores", fused_scores_passes(workload), Factor("d", workload.head_dim)),
            ("context", formulas.training_passes(workload), formulas.value_factor(workload)),
        )
        for part, passes, width in products:
            name = f"{part}{suffix}"
            terms.append(
                formulas.term(workload, part, name, (width, scores), passes=passes, layers=layers)
            )
    return [*terms, *_projected.global_row_terms(workload)]


def executed_macs(workload: Workload) -> int:
    """The sum of `mac_terms`."""
    return total_macs(mac_terms(workload))


def blocks(workload: Workload, layer: AttentionPattern, head: int) -> tuple[ComputedBlocks, ...]:
    """All 128 by 128 blocks with an attended pair, and the rows of global tokens."""
    runs = tuple(block_runs(layer, head, workload.seq_len))
    return _projected.computed_blocks(workload, layer, runs)


def static_bytes(workload: Workload) -> int:
    """Bytes of parameters, hidden states and block masks: 32-bit indices, by query and by key."""
    blocks = -(-workload.seq_len // BLOCK)
    masks = sum(_projected.masks_of(layer) for layer in workload.layers)
    block_masks = 4 * 4 * blocks * (blocks + 1) * masks
    return parameter_and_input_bytes(workload, parameters(workload)) + block_masks


def peak_bytes(workload: Workload) -> int:
    """Peak bytes: query, key, value, output; on CPU also two copies in another layout, buffers."""
    return stack_peak_bytes(workload, _layer_memory)


def _layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    if workload.device == "cuda":
        # Log-sum-exp and largest score of each query; in the backward pass one sum for each.
        sums = log_sum_exp_bytes(workload, workload.seq_len)
        compiled = FusedMemory(forward=2 * sums, saved=2 * sums, backward=sums)
        return projected_memory(workload, layer, compiled)
    g = len(layer.symmetric_globals)
    sizes = Projected.of(workload)
    attention = sizes.projected + sizes.output
    rows = sizes.output + sizes.key + sizes.value + _global_row_bytes(workload, g) if g else 0
    copies = sizes.key + sizes.value
    return LayerMemory(forward=max(attention + copies + _compiled_buffer_bytes(workload), rows))


def _global_row_bytes(workload: Workload, num_globals: int) -> int:
    """What the rows of global tokens take on CPU beside their keys and values."""
    n, g, heads = workload.seq_len, num_globals, workload.num_heads
    rows = activation_bytes(workload, g, workload.query_width + workload.output_width)
    if workload.value_dim == workload.head_dim:
        return rows + flash_cpu_forward_bytes(workload, g, n)
    # Not fused: scaled keys, scores and weights of each query head; its keys and values if grouped.
    is_grouped = workload.kv_heads < heads
    per_head = workload.head_dim + 2 * g
    per_head += workload.head_dim + workload.value_dim if is_grouped else 0
    return rows + activation_bytes(workload, n, heads * per_head)


def _compiled_buffer_bytes(workload: Workload) -> int:
    """Buffers of all threads: a block of scores, statistics and outputs, and blocks of inputs."""
    size, block = workload.dtype_bytes, min(BLOCK, workload.seq_len)
    widths = workload.head_dim + workload.value_dim
    per_thread = 4 * block * (block + 2 + workload.value_dim) + size * block * (block + widths)
    return cpu_threads() * per_thread
