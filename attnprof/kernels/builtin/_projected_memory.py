"""Memory of an attention with projections, fused attention, and rows of global tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnprof.core.workload import Workload
from attnprof.kernels.builtin._fused import FusedMemory, fused_call, fused_memory
from attnprof.kernels.builtin._mac_factors import projection_sets
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    Projected,
    activation_bytes,
    has_residual,
    projection_backward_bytes,
)

if TYPE_CHECKING:
    from attnprof.core.pattern import AttentionPattern


def projected_memory(
    workload: Workload, layer: AttentionPattern, fused: FusedMemory
) -> LayerMemory:
    """Memory of one attention, as the largest of these moments.

    | moment | alive at the same time |
    |---|---|
    | window, forward | query, key, value, output; numeric mask; buffers of fused attention |
    | global rows, forward | the output, their query and output, keys and values; buffers |
    | global rows, backward | all that is saved, a copy of the gradient, gradients of keys, values |
    | window, backward | query, key, value and their gradients; numeric mask; buffers |
    | projections, backward | see `projection_backward_bytes` |

    Args:
        workload: the call.
        layer: the pattern.
        fused: the fused attention, without the rows of global tokens.
    """
    tensors = _Tensors.of(workload, layer, fused)
    if workload.mode == "inference":
        return _inference_memory(tensors)
    return _training_memory(workload, layer, tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensors:
    """Bytes of one attention's tensors; those of global rows are 0 without global tokens.

    Attributes:
        projected: query, key, value and output of all tokens, and weights.
        fused: fused attention, and its mask in the workload's type.
        global_inputs: hidden states of global tokens.
        global_rows: their queries and outputs.
        fused_rows: fused attention of the global rows.
    """

    projected: Projected
    fused: FusedMemory
    global_inputs: int
    global_rows: int
    fused_rows: FusedMemory

    @classmethod
    def of(cls, workload: Workload, layer: AttentionPattern, fused: FusedMemory) -> _Tensors:
        """Sizes for one layer of the workload."""
        n, g = workload.seq_len, len(layer.symmetric_globals)
        rows = FusedMemory(forward=0, saved=0, backward=0)
        if g:
            rows = fused_memory(workload, fused_call(workload, g, n))
        return cls(
            projected=Projected.of(workload),
            fused=fused,
            global_inputs=activation_bytes(workload, g),
            global_rows=activation_bytes(workload, g, workload.query_width + workload.output_width),
            fused_rows=rows,
        )

    @property
    def window_forward(self) -> int:
        """The peak of the forward pass before the global rows."""
        attention = self.projected.output + self.fused.mask + self.fused.forward
        return self.projected.projected + max(self.fused.mask_making, attention)

    @property
    def keys(self) -> int:
        """Keys and values of all tokens."""
        return self.projected.key + self.projected.value


def _inference_memory(tensors: _Tensors) -> LayerMemory:
    """Nothing is saved: the peak of the window, or of the global rows beside its output."""
    global_rows = tensors.keys + tensors.global_rows + tensors.fused_rows.forward
    return LayerMemory(forward=max(tensors.window_forward, tensors.projected.output + global_rows))


def _training_memory(workload: Workload, layer: AttentionPattern, tensors: _Tensors) -> LayerMemory:
    """The peaks of both passes, and what is saved between them."""
    t, has_globals = tensors, bool(layer.symmetric_globals)
    weights = t.projected.weights
    saved = t.projected.projected + t.projected.output + t.fused.mask + t.fused.saved
    if has_globals:
        # the rows' input, query and output, their keys and values, and a second output
        saved += t.keys + t.projected.output + t.global_inputs + t.global_rows
    # query, key, value and their gradients
    window = 2 * t.projected.projected + t.fused.mask + t.fused.saved + t.fused.backward
    return LayerMemory(
        forward=max(t.window_forward, saved + t.fused_rows.forward),
        saved=saved,
        output_backward=0 if has_globals else window,
        attention_backward=_backward_peak(workload, t, saved, window) if has_globals else 0,
        projection_backward=projection_backward_bytes(
            t.projected,
            has_residual=has_residual(workload),
            earlier_weights=weights if has_globals else 0,
        ),
        output_is_saved=True,
        gradients=projection_sets(layer) * weights,
    )


def _backward_peak(workload: Workload, t: _Tensors, saved: int, window: int) -> int:
    """Peak of the backward pass before the projections, with global tokens.

    The window reads a copy of the output's gradient without the global rows, and keeps an output
    without them. The global rows, which go first, leave the gradients of three projections and one
    of the input; where a residual has left one already, it is added to that.

    Args:
        workload: the call.
        t: sizes of tensors.
        saved: bytes that the forward pass saved.
        window: peak of the window's backward pass by itself.
    """
    of_input = 0 if has_residual(workload) else t.projected.hidden
    return max(
        # the copy, and the gradients of the global rows' keys and values
        saved + t.keys + t.global_rows + t.fused_rows.backward,
        window + 2 * t.projected.output + of_input + t.projected.weights,
    )
