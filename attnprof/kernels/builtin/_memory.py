"""Peak memory of a stack from what its attentions take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from attnprof.core import formulas
from attnprof.core.sdpa_buffers import backward_buffer_bytes, forward_buffer_bytes
from attnprof.core.workload import Workload

if TYPE_CHECKING:
    from attnprof.core.pattern import AttentionPattern


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMemory:
    """Bytes that one attention, or one layer, allocates above what was live when it began.

    Going backward, neither its output nor the gradient of that is counted: who holds them depends
    on what is around it.

    Attributes:
        forward: the most at one time in the forward pass, the output included.
        saved: what is left after it for the backward pass, the output included.
        output_backward: the most at one time while the gradient of the output is read.
        attention_backward: the most after that, before the projections go backward.
        projection_backward: the most while they do.
        output_is_saved: whether the output is kept as long as its gradient is read.
        gradients: of the parameters, left after the backward pass.
    """

    forward: int
    saved: int = 0
    output_backward: int = 0
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
    attention_memory: Callable[[Workload, AttentionPattern, int], LayerMemory],
) -> int:
    """The peak of the layers in sequence.

    In inference a layer runs while the output of the one below it lives. In training everything
    saved by the layers below lives too, and, on the way back, the gradients of those above.

    Args:
        workload: the call.
        seq_len: the length to compute, padding included.
        attention_memory: of the attention of a pattern, in the layer of that index; all above the
            bottom are alike.
    """
    activation = activation_bytes(workload, seq_len)

    @cache
    def of_layer(layer: AttentionPattern, index: int) -> LayerMemory:
        attention = attention_memory(workload, layer, index)
        return whole_layer(workload, seq_len, attention) if workload.scope == "layer" else attention

    layers = [of_layer(layer, min(i, 1)) for i, layer in enumerate(workload.layers)]
    if workload.mode == "inference":
        return max(layer.forward + activation * (i > 0) for i, layer in enumerate(layers))
    below, peak = 0, 0
    above = sum(layer.gradients for layer in layers)
    for i, layer in enumerate(layers):
        above -= layer.gradients
        # The caller holds the output of the stack and its gradient: those of the top.
        held = 2 * activation
        own = activation * (1 + layer.output_is_saved) * (i < len(layers) - 1)
        backward = max(
            own + layer.output_backward, layer.attention_backward, layer.projection_backward
        )
        peak = max(peak, below + layer.forward, below + above + held + backward)
        below += layer.saved
    return peak


def whole_layer(workload: Workload, seq_len: int, attention: LayerMemory) -> LayerMemory:
    """What a layer allocates around its attention; the moments are those of `EncoderLayer`."""
    activation = activation_bytes(workload, seq_len)
    wide = activation // workload.hidden_size * workload.intermediate_size
    statistics = 2 * workload.batch_size * seq_len * workload.dtype_bytes
    if workload.mode == "inference":
        # what the feed-forward reads, and its inner activation before and after GELU
        return LayerMemory(forward=max(attention.forward, activation + 2 * wide))
    size, width = workload.dtype_bytes, workload.hidden_size
    parameters = formulas.rest_of_layer_parameters(workload) * size
    outer_weight = (width * workload.intermediate_size + 3 * width) * size
    inner_weight = workload.intermediate_size * (width + 1) * size
    # the sum that each layer norm reads, and what the first of them wrote
    saved_inside = attention.saved + 2 * activation + statistics
    saved = saved_inside + 2 * wide + activation + statistics
    # The residual's share of the input's gradient lives while the attention goes backward.
    behind = activation + parameters
    return LayerMemory(
        forward=max(attention.forward, saved + activation),
        saved=saved + activation,
        output_backward=saved + activation,
        attention_backward=max(
            # gradients of the sum and of the inner activation after GELU; then before it as well
            saved_inside + 3 * wide + activation + outer_weight,
            saved_inside + wide + 2 * activation + outer_weight + inner_weight,
            # the output projection
            attention.saved + activation + behind,
            activation * (1 + attention.output_is_saved) + attention.output_backward + behind,
            attention.attention_backward + behind,
        ),
        projection_backward=attention.projection_backward + parameters,
        gradients=attention.gradients + parameters,
    )


def has_residual(workload: Workload) -> bool:
    """Whether the attention's input has another reader, which is the first to go backward."""
    return workload.scope == "layer"


def projection_backward_bytes(
    activation: int, weight: int, projections: int = 3, *, has_residual: bool
) -> int:
    """The most at one time while the gradients of the last three of some projections are made.

    They begin with the gradients of query, key and value (3 activations). Two projections in, their
    two contributions to the input's gradient are summed into a third tensor; at the third, the
    first three are one. Six projections, those of global tokens first, begin with three weights
    more and one contribution; so they do where a residual has left one.
    """
    before = projections - 3
    begun = has_residual or before > 0
    return max(
        (4 + begun) * activation + (before + 2 - begun) * weight,
        3 * activation + projections * weight,
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
