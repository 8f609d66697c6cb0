"""Dense fused attention under the pattern's mask: sparse in name only, and shown as such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from attnprof.core import formulas
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.builtin._build import build_call
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

if TYPE_CHECKING:
    import torch

name = "longformer-masked"
summary = "any pattern; dense fused attention under a mask: quadratic"
pattern_support: Literal["dense", "pattern"] = "pattern"
ptflops_misses = "scaled_dot_product_attention"
needs_compilation = False
has_float32_softmax = False

_MASK_ROWS_AT_A_TIME = 256


def unsupported_reason(workload: Workload) -> str | None:
    """Every sparse pattern."""
    if any(layer.is_dense for layer in workload.layers):
        return "computes a pattern under a mask, not dense attention"
    return None


def padding_multiple(workload: Workload) -> int:
    """Pads nothing."""
    return 1


def build(workload: Workload) -> Call:
    """`MaskedSelfAttention` with the pattern's mask of each layer."""
    from attnprof.nn.masked import MaskedSelfAttention

    def make_layer(index: int, layer: AttentionPattern) -> Any:
        return MaskedSelfAttention(
            workload.hidden_size,
            workload.num_heads,
            _mask(layer, workload.seq_len),
            layer.global_positions,
        )

    return build_call(workload, workload.seq_len, make_layer, lambda hidden_states: {})


def _mask(layer: AttentionPattern, seq_len: int) -> torch.Tensor:
    """Bool `(heads or 1, seq_len, seq_len)`; heads that read alike share one mask."""
    import torch

    from attnprof.counting.fake_tensors import is_fake_mode

    if _masks_of(layer) == 1:
        layer = AttentionPattern.sliding(
            layer.window or 0, layer.dilation[0], layer.global_positions, num_heads=1
        )
    mask = torch.empty(layer.num_heads, seq_len, seq_len, dtype=torch.bool)
    if is_fake_mode():
        return mask
    for start in range(0, seq_len, _MASK_ROWS_AT_A_TIME):
        stop = min(start + _MASK_ROWS_AT_A_TIME, seq_len)
        mask[:, start:stop] = torch.tensor(layer.mask_rows(seq_len, start, stop))
    return mask


def _masks_of(layer: AttentionPattern) -> int:
    return 1 if len(set(layer.dilation)) == 1 else layer.num_heads


def parameters(workload: Workload) -> int:
    """Three projections a layer, six where there are global tokens."""
    projections = sum(_projections_of(layer) for layer in workload.layers)
    return formulas.parameters(workload, projections)


def _projections_of(layer: AttentionPattern) -> int:
    return 6 if layer.global_positions else 3


def executed_macs(workload: Workload) -> int:
    """All n^2 pairs whatever the mask lets through, then the global rows once more.

    Fused attention's backward multiplies the scores once more: 7 products for the forward's 2.
    """
    n, batch, width = workload.seq_len, workload.batch_size, workload.hidden_size
    weights = sum(formulas.weight_macs(workload, layer) for layer in workload.layers)
    attention = sum(
        2 * batch * width * n * (n + len(layer.global_positions)) for layer in workload.layers
    )
    if workload.mode == "inference":
        return weights + attention
    return formulas.TRAINING_FACTOR * weights + attention * 7 // 2


def static_bytes(workload: Workload) -> int:
    """Parameters, hidden states and the boolean masks."""
    masks = sum(_masks_of(layer) * workload.seq_len**2 for layer in workload.layers)
    return (
        parameters(workload) * workload.dtype_bytes
        + activation_bytes(workload, workload.seq_len)
        + masks
    )


def peak_bytes(workload: Workload) -> int:
    """Query, key, value and output, and the mask turned into numbers."""
    return stack_peak_bytes(workload, workload.seq_len, _layer_memory)


def _layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    n, g = workload.seq_len, len(layer.global_positions)
    activation = activation_bytes(workload, n)
    weight = weight_bytes(workload)
    on_cpu = workload.device == "cpu"
    numeric_mask = _masks_of(layer) * n * n * workload.dtype_bytes
    statistics = log_sum_exp_bytes(workload, n)
    fused = flash_cpu_forward_bytes(workload, n, n) if on_cpu else statistics
    fused_back = flash_cpu_backward_bytes(workload, n, n) if on_cpu else statistics
    global_rows = activation_bytes(workload, g) if g else 0
    fused_rows = flash_cpu_forward_bytes(workload, g, n) if g and on_cpu else 0
    global_forward = 2 * (activation + global_rows) + fused_rows if g else 0
    forward = 4 * activation + numeric_mask + fused
    gradients = _projections_of(layer) * weight
    if workload.mode == "inference":
        return LayerMemory(forward=max(forward, activation + global_forward))
    # the rows' input, query and output, their keys and values, and a second output
    saved_by_globals = (3 * activation + 3 * global_rows) if g else 0
    saved = 4 * activation + numeric_mask + statistics + saved_by_globals
    # query, key, value and their gradients
    window = 6 * activation + numeric_mask + statistics + fused_back
    # With globals it reads a copy of the output's gradient, without their rows, and keeps an output
    # without those. They have left three gradients of weights and one of the input, which is one
    # with a residual's.
    of_globals = (3 - has_residual(workload)) * activation + 3 * weight
    rows_back = flash_cpu_backward_bytes(workload, g, n) if g and on_cpu else 0
    return LayerMemory(
        forward=max(forward, saved + fused_rows),
        saved=saved,
        output_backward=0 if g else window,
        attention_backward=max(
            # the copy and the gradients of key and value in the globals' branch
            saved + 2 * activation + 2 * global_rows + rows_back,
            window + of_globals,
        )
        if g
        else 0,
        projection_backward=projection_backward_bytes(
            activation,
            weight,
            _projections_of(layer),
            has_residual=has_residual(workload),
        ),
        output_is_saved=True,
        gradients=gradients,
    )
