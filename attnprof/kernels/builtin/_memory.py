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
        output_gradient_copy: bytes of a copy of the output's gradient. It takes the place of the
            gradient, unless a caller holds that.
        gradients: bytes of the parameters' gradients, left after the backward pass.
    """

    forward: int
    saved: int = 0
    output_backward: int = 0
    attention_backward: int = 0
    projection_backward: int = 0
    output_is_saved: bool = False
    output_gradient_copy: int = 0
    gradients: int = 0

    def output_bytes(self, output: int) -> int:
        """Bytes of the output's gradient, and of the output, of that many bytes, if it is saved."""
        return 2 * output if self.output_is_saved else output


def activation_bytes(workload: Workload, tokens: int, width: int | None = None) -> int:
    """Bytes of one `(batch, tokens, width)` tensor; as wide as the hidden states if None."""
    width = workload.hidden_size if width is None else width
    return workload.batch_size * tokens * width * workload.dtype_bytes


def output_bytes(workload: Workload, tokens: int) -> int:
    """Bytes of the output of one attention, all heads together."""
    return activation_bytes(workload, tokens, workload.output_width)


def weight_bytes(workload: Workload, width: int | None = None, *, has_bias: bool = True) -> int:
    """Bytes of one projection of hidden states, to hidden states if `width` is None."""
    width = workload.hidden_size if width is None else width
    return (workload.hidden_size + has_bias) * width * workload.dtype_bytes


def parameter_and_input_bytes(workload: Workload, parameters: int) -> int:
    """Bytes of that many parameters and of the hidden states, `(batch, queries, hidden)`."""
    return parameters * workload.dtype_bytes + activation_bytes(workload, workload.queries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected:
    """Bytes of the projections of one attention: `(batch, tokens, width)` each, and their weights.

    Attributes:
        hidden: the hidden states.
        query: the queries of all heads.
        key: the keys of all heads.
        value: the values of all heads.
        output: the attention's output.
        query_weight: the projection of queries.
        key_weight: the projection of keys.
        value_weight: the projection of values.
    """

    hidden: int
    query: int
    key: int
    value: int
    output: int
    query_weight: int
    key_weight: int
    value_weight: int

    @classmethod
    def of(cls, workload: Workload, *, has_bias: bool = True) -> Projected:
        """Sizes for one layer of the workload; all tokens but cached ones are projected."""
        n = workload.queries
        widths = (workload.query_width, workload.key_width, workload.value_width)
        query, key, value = (activation_bytes(workload, n, width) for width in widths)
        weights = [weight_bytes(workload, width, has_bias=has_bias) for width in widths]
        return cls(
            hidden=activation_bytes(workload, n),
            query=query,
            key=key,
            value=value,
            output=output_bytes(workload, n),
            query_weight=weights[0],
            key_weight=weights[1],
            value_weight=weights[2],
        )

    @property
    def projected(self) -> int:
        """Queries, keys and values together."""
        return self.query + self.key + self.value

    @property
    def weights(self) -> int:
        """The three projections together."""
        return self.query_weight + self.key_weight + self.value_weight


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
    is_layer = workload.scope == "layer"
    # Only attention as wide as its input can be stacked without the rest of its layer.
    output = (activation_bytes if is_layer else output_bytes)(workload, workload.seq_len)

    @cache
    def layer_memory(layer: AttentionPattern, index: int) -> LayerMemory:
        attention = attention_memory(workload, layer, index)
        return encoder_layer_memory(workload, attention) if is_layer else attention

    layers = [layer_memory(layer, min(i, 1)) for i, layer in enumerate(workload.layers)]
    if workload.mode != "training":
        above_bottom = [output + layer.forward for layer in layers[1:]]
        return max([layers[0].forward, *above_bottom])
    return _training_peak_bytes(layers, output)


def _training_peak_bytes(layers: list[LayerMemory], output: int) -> int:
    """Peak over the forward and the backward pass of each layer, bottom to top.

    Args:
        layers: the memory of each.
        output: bytes of the output of one.
    """
    top = len(layers) - 1
    # The caller holds the output of the stack and its gradient: those of the top layer.
    caller = 2 * output
    saved_below, peak = 0, 0
    gradients_above = sum(layer.gradients for layer in layers)
    for i, layer in enumerate(layers):
        gradients_above -= layer.gradients
        own_output = layer.output_gradient_copy if i == top else layer.output_bytes(output)
        backward = max(
            own_output + layer.output_backward, layer.attention_backward, layer.projection_backward
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
    activation, output = activation_bytes(workload, n), output_bytes(workload, n)
    inner = activation_bytes(workload, n, workload.intermediate_size)
    statistics = 2 * workload.batch_size * n * size
    if workload.mode != "training":
        # the feed-forward's input, and its inner activation before and after GELU
        projected = output + 2 * activation
        return LayerMemory(forward=max(attention.forward, projected, activation + 2 * inner))
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
            attention.saved + output + residual,
            attention.output_bytes(output) + attention.output_backward + residual,
            attention.attention_backward + residual,
        ),
        projection_backward=attention.projection_backward + parameters,
        gradients=attention.gradients + parameters,
    )


def has_residual(workload: Workload) -> bool:
    """Whether a residual connection reads the attention's input; its gradient comes first."""
    return workload.scope == "layer"


def projection_backward_bytes(
    projected: Projected, *, has_residual: bool, earlier_weights: int = 0
) -> int:
    """Peak bytes while the gradients of the value, key and query projections are computed.

    They begin with the gradients of query, key and value. Each projection adds the gradient of its
    weight and a contribution to the input's gradient. The sum of the first two contributions is a
    new tensor, to which later ones are added in place. Global tokens' projections go first: they
    leave gradients of their weights and one such sum.

    Args:
        projected: sizes of tensors.
        has_residual: whether a residual has left a contribution to the input's gradient.
        earlier_weights: bytes of the gradients of global tokens' projections.
    """
    p = projected
    value_weight = earlier_weights + p.value_weight
    contribution = p.hidden if has_residual or earlier_weights else 0
    summing = p.query + 3 * p.hidden + value_weight + (p.key if has_residual else p.key_weight)
    return max(
        p.projected + contribution + p.hidden + value_weight,
        0 if earlier_weights else summing,
        p.query + p.key + 2 * p.hidden + value_weight + p.key_weight,
        p.query + 2 * p.hidden + earlier_weights + p.weights,
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
