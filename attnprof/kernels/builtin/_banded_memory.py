"""Peak memory of `longformer-banded`; the moments are those of `attnprof.nn.longformer`."""

from __future__ import annotations

from dataclasses import dataclass

from attnprof.core.formulas import should_absorb_projection
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    Projected,
    activation_bytes,
    flash_cpu_backward_bytes,
    flash_cpu_forward_bytes,
    has_residual,
    log_sum_exp_bytes,
    projection_backward_bytes,
    weight_bytes,
)
from attnprof.nn.banded.memory import BandedShape, backward_tiles_bytes, forward_tiles_bytes


def layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    """Memory of one attention; in inference, the output overwrites the queries tile by tile."""
    n = workload.seq_len
    activation, weight = activation_bytes(workload, n), weight_bytes(workload)
    accumulated = activation // workload.dtype_bytes * _accumulator_bytes(workload)
    sums = log_sum_exp_bytes(workload, n)
    rows = _GlobalRows.of(workload, layer)
    banded = BandedShape(
        seq_len=n,
        head_dim=workload.head_dim,
        dtype=workload.dtype,
        window=layer.window or 0,
        dilation=layer.dilation,
        num_globals=len(layer.global_positions),
    )
    tiles = forward_tiles_bytes(banded)
    if workload.mode == "inference":
        return LayerMemory(forward=max(rows.forward, rows.output + 3 * activation + sums + tiles))
    saved = 4 * activation + sums + rows.saved
    gradients = activation + 2 * accumulated
    # Gradients of keys and values are converted one after the other.
    converted = activation if accumulated > activation else 0
    return LayerMemory(
        forward=max(rows.forward, saved + tiles),
        saved=saved,
        output_backward=saved
        - activation
        + gradients
        + max(backward_tiles_bytes(banded), 2 * converted),
        projection_backward=max(
            rows.saved
            + projection_backward_bytes(
                Projected.of(workload), has_residual=has_residual(workload)
            ),
            rows.backward + activation + 3 * weight,
        ),
        output_is_saved=True,
        gradients=(6 if layer.global_positions else 3) * weight,
    )


def _accumulator_bytes(workload: Workload) -> int:
    return max(4, workload.dtype_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _GlobalRows:
    """Bytes of the global tokens' attention to all tokens; 0 without global tokens.

    Attributes:
        forward: peak while it is computed.
        output: its output, `(batch, global tokens, hidden)`.
        saved: what it leaves for the backward pass, the output included.
        backward: peak while its gradients are computed, beside three activations and weights.
    """

    forward: int = 0
    output: int = 0
    saved: int = 0
    backward: int = 0

    @classmethod
    def of(cls, workload: Workload, layer: AttentionPattern) -> _GlobalRows:
        """Sizes for one layer: the projections absorbed where that multiplies less."""
        g = len(layer.global_positions)
        if g == 0:
            return cls()
        n, heads, width = workload.seq_len, workload.num_heads, workload.hidden_size
        rows = activation_bytes(workload, g)
        if should_absorb_projection(n, width, heads, g):
            return cls._absorbed(workload, rows, g)
        activation = activation_bytes(workload, n)
        weight = weight_bytes(workload)
        return cls(
            forward=3 * rows + 2 * activation + flash_cpu_forward_bytes(workload, g, n),
            output=rows,
            saved=4 * rows + 2 * activation,
            backward=max(
                4 * rows + 4 * activation + flash_cpu_backward_bytes(workload, g, n),
                3 * rows + 3 * activation + weight,
                2 * rows + 2 * activation + 2 * weight,
                rows + activation + 3 * weight,
            ),
        )

    @classmethod
    def _absorbed(cls, workload: Workload, rows: int, g: int) -> _GlobalRows:
        """Keys and values not projected: queries and contexts are, once for each head."""
        size, b = workload.dtype_bytes, workload.batch_size
        scores = b * workload.num_heads * g * workload.seq_len
        wide = rows * workload.num_heads
        # probabilities in float32, and a copy in any other type
        weights = scores * 4 + (scores * size if size != 4 else 0)
        activation = activation_bytes(workload, workload.seq_len)
        weight = weight_bytes(workload)
        return cls(
            forward=4 * rows + 2 * wide + scores * size + weights,
            output=rows,
            saved=4 * rows + 2 * wide + weights,
            backward=max(
                activation + weight + 6 * rows + 3 * wide + weights + scores * size,
                activation + 3 * weight + 2 * rows,
            ),
        )
