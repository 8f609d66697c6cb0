"""Peak memory of a stack from the peaks of its layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnprof.fused_buffers import backward_buffer_bytes, forward_buffer_bytes
from attnprof.workload import Workload

if TYPE_CHECKING:
    from attnprof.pattern import AttentionPattern


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMemory:
    """Bytes that one layer allocates, above what was live when it began; its output included.

    Attributes:
        forward: the most at one time in the forward pass.
        saved: what is left after it for the backward pass, the output included.
        attention_backward: the most at one time while the attention goes backward, `saved`, the
            caller's hold on the output and its gradient included.
        projection_backward: the same for the projections, which come after it.
        output_is_saved: whether the attention keeps its output for its backward pass, so that it
            lives there although the caller holds the output of another layer.
        gradients: of the parameters, left after the backward pass.
    """

    forward: int
    saved: int = 0
    attention_backward: int = 0
    projection_backward: int = 0
    output_is_saved: bool = False
    gradients: int = 0


def activation_bytes(workload: Workload, seq_len: int) -> int:
    """Bytes of one `(batch, seq_len, hidden)` tensor."""
    return workload.batch_size * seq_len * workload.hidden_size * workload.dtype_bytes


def weight_bytes(workload: Workload) -> int:
    """Bytes of one projection with its bias."""
    return workload.hidden_size * (workload.hidden_size + 1) * workload.dtype_bytes


def stack_peak_bytes(
    workload: Workload,
    seq_len: int,
    layer_memory: Callable[[Workload, AttentionPattern, int], LayerMemory],
) -> int:
    """The peak of the layers in sequence.

    In inference a layer runs while the output of the one below it lives. In training everything
    saved by the layers below lives too, and, on the way back, the gradients of those above.
    """
    activation = activation_bytes(workload, seq_len)
    layers = [layer_memory(workload, layer, i) for i, layer in enumerate(workload.layers)]
    if workload.mode == "inference":
        return max(layer.forward + activation * (i > 0) for i, layer in enumerate(layers))
    below, peak = 0, 0
    above = sum(layer.gradients for layer in layers)
    for i, layer in enumerate(layers):
        above -= layer.gradients
        # Below the top the caller still holds the output of the stack and its gradient.
        held = activation * (1 + layer.output_is_saved) * (i < len(layers) - 1)
        peak = max(
            peak,
            below + layer.forward,
            below + above + held + layer.attention_backward,
            below + above + layer.projection_backward,
        )
        below += layer.saved
    return peak


def projection_backward_bytes(activation: int, weight: int, projections: int = 3) -> int:
    """The most at one time while the gradients of the last three of some projections are made.

    They begin with the layer's output, its gradient and those of query, key and value (5
    activations). Two projections in, their two contributions to the input's gradient are summed
    into a third tensor; at the third, the first three are one. Six projections, those of global
    tokens first, begin with one contribution and three weights more.
    """
    before = projections - 3
    return max(
        (6 + (before > 0)) * activation + (before + 2 - (before > 0)) * weight,
        5 * activation + projections * weight,
    )


def flash_cpu_forward_bytes(workload: Workload, queries: int, keys: int) -> int:
    """Buffers inside fused attention on CPU, and its log-sum-exp."""
    attentions = workload.batch_size * workload.num_heads
    buffers = forward_buffer_bytes(attentions, queries, keys, workload.head_dim, workload.dtype)
    return buffers + log_sum_exp_bytes(workload, queries)


def flash_cpu_backward_bytes(workload: Workload, queries: int, keys: int) -> int:
    """Buffers inside its backward pass."""
    return backward_buffer_bytes(queries, keys, workload.dtype)


def log_sum_exp_bytes(workload: Workload, queries: int) -> int:
    """Bytes of the statistics that fused attention keeps, `(batch, heads, queries)`."""
    return workload.batch_size * workload.num_heads * queries * max(4, workload.dtype_bytes)
