"""Predicted peak memory of a stack of layers, from the memory of each attention."""

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

    The backward fields count neither the output nor its gradient: who holds them depends on what
    surrounds the layer.

    Attributes:
        forward: peak of the forward pass, the output included.
        saved: bytes left after the forward pass for the backward pass, the output included.
        output_backward: peak while the gradient of the output is read.
        attention_backward: peak after that, before the backward pass of the projections.
        projection_backward: peak of the backward pass of the projections.
        output_is_saved: whether the output stays alive as long as its gradient is read.
        gradients: bytes of the parameters' gradients, left after the backward pass.
    """

    forward: int
    saved: int = 0
    output_backward: int = 0
    attention_backward: int = 0
    projection_backward: int = 0
    output_is_saved: bool = False
    gradients: int = 0

    def output_bytes(self, activation: int) -> int:
        """Bytes of the output's gradient, and of the output where it is saved."""
        return 2 * activation if self.output_is_saved else activation


def activation_bytes(workload: Workload, seq_len: int) -> int:
    """Bytes of one `(batch, seq_len, hidden)` tensor."""
    return workload.batch_size * seq_len * workload.hidden_size * workload.dtype_bytes


def weight_bytes(workload: Workload) -> int:
    """Bytes of one projection with its bias."""
    return workload.hidden_size * (workload.hidden_size + 1) * workload.dtype_bytes


def parameter_and_input_bytes(workload: Workload, parameters: int) -> int:
    """Bytes of that many parameters and of the hidden states, `(batch, queries, hidden)`."""
    return parameters * workload.dtype_bytes + activation_bytes(workload, workload.queries)


def stack_peak_bytes(
    workload: Workload,
    attention_memory: Callable[[Workload, AttentionPattern, int], LayerMemory],
) -> int:
    """Peak bytes of the layers in sequence.

    In inference, the output of the layer below is alive while a layer runs. In training, all that
    the layers below saved is alive too and, in the backward pass, the gradients of those above.

    Args:
        workload: the call, at the length that is computed (padding included).
        attention_memory: memory of the attention with a pattern in the layer of an index; called
            with index 0 for the bottom layer and 1 for all above it.
    """
    activation = activation_bytes(workload, workload.seq_len)

    @cache
    def layer_memory(layer: AttentionPattern, index: int) -> LayerMemory:
        attention = attention_memory(workload, layer, index)
        return encoder_layer_memory(workload, attention) if workload.scope == "layer" else attention

    layers = [layer_memory(layer, min(i, 1)) for i, layer in enumerate(workload.layers)]
    if workload.mode != "training":
        above_bottom = [activation + layer.forward for layer in layers[1:]]
        return max([layers[0].forward, *above_bottom])
    return _training_peak_bytes(layers, activation)


def _training_peak_bytes(layers: list[LayerMemory], activation: int) -> int:
    """Peak over the forward and the backward pass of each layer, bottom to top."""
    top = len(layers) - 1
    # The caller holds the output of the stack and its gradient: those of the top layer.
    caller = 2 * activation
    saved_below, peak = 0, 0
    gradients_above = sum(layer.gradients for layer in layers)
    for i, layer in enumerate(layers):
        gradients_above -= layer.gradients
        output = 0 if i == top else layer.output_bytes(activation)
        backward = max(
            output + layer.output_backward, layer.attention_backward, layer.projection_backward
        )
        peak = max(
            peak, saved_below + layer.forward, saved_below + gradients_above + caller + backward
        )
        saved_below += layer.saved
    return peak


def encoder_layer_memory(workload: Workload, attention: LayerMemory) -> LayerMemory:
    """Memory of an `EncoderLayer` around an attention.

    The moments of the backward pass, from the top: layer norm; the feed-forward's outer product;
    its GELU and inner product; the output projection; the attention; the projections.
    """
    n, size, width = workload.seq_len, workload.dtype_bytes, workload.hidden_size
    activation = activation_bytes(workload, n)
    inner = activation // width * workload.intermediate_size
    statistics = 2 * workload.batch_size * n * size
    if workload.mode != "training":
        # the feed-forward's input, and its inner activation before and after GELU
        return LayerMemory(forward=max(attention.forward, activation + 2 * inner))
    parameters = formulas.rest_of_layer_parameters(workload) * size
    outer_weight = (width * workload.intermediate_size + 3 * width) * size
    inner_weight = workload.intermediate_size * (width + 1) * size
    # the input of each layer norm, and the output of the first
    saved_inside = attention.saved + 2 * activation + statistics
    saved = saved_inside + 2 * inner + activation + statistics
    # The residual's share of the input's gradient is alive in the attention's backward pass.
    residual = activation + parameters
    return LayerMemory(
        forward=max(attention.forward, saved + activation),
        saved=saved + activation,
        output_backward=saved + activation,
        attention_backward=max(
            # gradients of the sum and of the inner activation after GELU; then before it as well
            saved_inside + 3 * inner + activation + outer_weight,
            saved_inside + inner + 2 * activation + outer_weight + inner_weight,
            # the output projection
            attention.saved + activation + residual,
            attention.output_bytes(activation) + attention.output_backward + residual,
            attention.attention_backward + residual,
        ),
        projection_backward=attention.projection_backward + parameters,
        gradients=attention.gradients + parameters,
    )


def has_residual(workload: Workload) -> bool:
    """Whether a residual connection reads the attention's input; its gradient comes first."""
    return workload.scope == "layer"


def projection_backward_bytes(
    activation: int, weight: int, projections: int = 3, *, has_residual: bool
) -> int:
    """Peak bytes while the gradients of the last three of some projections are computed.

    They begin with the gradients of query, key and value (3 activations). After two projections,
    their two contributions to the input's gradient are summed into a third tensor; at the third,
    the first three are one. Six projections, those of global tokens first, begin with three more
    weight gradients and one contribution; so they do where a residual has left one.

    Args:
        activation: bytes of one `(batch, seq_len, hidden)` tensor.
        weight: bytes of one projection.
        projections: 3, or 6 where tokens are global.
        has_residual: whether a residual has left a contribution to the input's gradient.
    """
    earlier = projections - 3
    contributions = 1 if has_residual or earlier > 0 else 0
    return max(
        (4 + contributions) * activation + (earlier + 2 - contributions) * weight,
        3 * activation + projections * weight,
    )


def flash_cpu_forward_bytes(workload: Workload, queries: int, keys: int) -> int:
    """Buffers inside fused attention on CPU, and its log-sum-exp."""
    attentions = workload.batch_size * workload.num_heads
    buffers = forward_buffer_bytes(attentions, queries, keys, workload.head_dim, workload.dtype)
    return buffers + log_sum_exp_bytes(workload, queries)


def flash_cpu_backward_bytes(workload: Workload, queries: int, keys: int) -> int:
    """Buffers inside the backward pass of fused attention on CPU."""
    return backward_buffer_bytes(queries, keys, workload.dtype)


def log_sum_exp_bytes(workload: Workload, queries: int) -> int:
    """Bytes of the log-sum-exp that fused attention saves, `(batch, heads, queries)`."""
    return workload.batch_size * workload.num_heads * queries * max(4, workload.dtype_bytes)
