"""Peak memory of `longformer-banded`; the moments are those of `attnprof.nn.longformer`."""

from __future__ import annotations

from dataclasses import dataclass

from attnprof.core.global_queries import GlobalQueries
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
)
from attnprof.nn.banded.memory import BandedShape, backward_tiles_bytes, forward_tiles_bytes


def layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    """Memory of one attention; in inference, the output overwrites the queries tile by tile."""
    n = workload.seq_len
    sizes = Projected.of(workload)
    sums = log_sum_exp_bytes(workload, n)
    rows = _GlobalRows.of(workload, layer)
    banded = BandedShape(
        seq_len=n,
        kv_heads=workload.kv_heads,
        head_dim=workload.head_dim,
        dtype=workload.dtype,
        sides=layer.sides(n),
        dilation=layer.dilation,
        num_globals=len(layer.global_positions),
    )
    tiles = forward_tiles_bytes(banded)
    if workload.mode == "inference":
        return LayerMemory(forward=max(rows.forward, rows.output + sizes.projected + sums + tiles))
    saved = sizes.projected + sizes.output + sums + rows.saved
    of_keys = sizes.key + sizes.value
    accumulated = of_keys // workload.dtype_bytes * banded.accumulator_bytes
    converted = of_keys if accumulated > of_keys else 0
    gradients = sizes.query + accumulated + max(backward_tiles_bytes(banded), converted)
    return LayerMemory(
        forward=max(rows.forward, saved + tiles),
        saved=saved,
        output_backward=saved - sizes.output + gradients,
        projection_backward=max(
            rows.saved + projection_backward_bytes(sizes, has_residual=has_residual(workload)),
            rows.backward + sizes.hidden + sizes.weights,
        ),
        output_is_saved=True,
        gradients=(2 if layer.symmetric_globals else 1) * sizes.weights,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _GlobalRows:
    """Bytes of the global tokens' attention to all tokens; 0 without global tokens.

    Attributes:
        forward: peak while it is computed.
        output: its output, `(batch, global tokens, output width)`.
        saved: what it leaves for the backward pass, the output included.
        backward: peak while its gradients are computed, beside the gradients of the other
            projections' weights and their contribution to the input's.
    """

    forward: int = 0
    output: int = 0
    saved: int = 0
    backward: int = 0

    @classmethod
    def of(cls, workload: Workload, layer: AttentionPattern) -> _GlobalRows:
        """Sizes for one layer: the projections absorbed where that multiplies less."""
        queries = GlobalQueries.of(workload, layer)
        if queries.num_globals == 0:
            return cls()
        rows = _RowSizes.of(workload, queries.num_globals)
        if queries.is_absorbed:
            return cls._absorbed(workload, rows)
        return cls._projected(workload, rows)

    @classmethod
    def _projected(cls, workload: Workload, rows: _RowSizes) -> _GlobalRows:
        """Keys and values of all tokens projected, and fused attention."""
        sizes, n, g = Projected.of(workload), workload.seq_len, rows.tokens
        of_keys = sizes.key + sizes.value
        saved = rows.inputs + rows.queries + rows.outputs + of_keys
        return cls(
            forward=saved + rows.folded_queries + flash_cpu_forward_bytes(workload, g, n),
            output=rows.outputs,
            saved=saved + rows.outputs,
            backward=max(
                saved + rows.outputs + of_keys + flash_cpu_backward_bytes(workload, g, n),
                rows.inputs + 2 * rows.queries + of_keys + sizes.hidden + sizes.value_weight,
                rows.inputs + rows.queries + 2 * sizes.hidden + sizes.weights - sizes.query_weight,
                rows.inputs + sizes.hidden + sizes.weights,
            ),
        )

    @classmethod
    def _absorbed(cls, workload: Workload, rows: _RowSizes) -> _GlobalRows:
        """Keys and values not projected: queries and contexts are, once for each head."""
        sizes, size = Projected.of(workload), workload.dtype_bytes
        scores = workload.batch_size * workload.num_heads * rows.tokens * workload.seq_len
        wide = rows.inputs * workload.num_heads
        # probabilities in float32, and a copy in any other type
        weights = scores * 4 + (scores * size if size != 4 else 0)
        saved = rows.inputs + 2 * rows.queries + rows.outputs + 2 * wide + weights
        return cls(
            forward=saved + scores * size,
            output=rows.outputs,
            saved=saved,
            backward=max(
                sizes.hidden
                + sizes.value_weight
                + saved
                + rows.queries
                + rows.outputs
                + wide
                + scores * size,
                sizes.hidden + sizes.weights + rows.inputs + rows.queries,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowSizes:
    """Bytes of the rows of global tokens.

    Attributes:
        tokens: the global tokens of a sequence.
        inputs: their hidden states.
        queries: their queries.
        outputs: their outputs.
        folded_queries: the queries copied, so that those that share keys are one head's.
    """

    tokens: int
    inputs: int
    queries: int
    outputs: int
    folded_queries: int

    @classmethod
    def of(cls, workload: Workload, tokens: int) -> _RowSizes:
        """Sizes for that many global tokens of each sequence."""
        queries = activation_bytes(workload, tokens, workload.query_width)
        is_folded = workload.kv_heads < workload.num_heads and tokens > 1
        return cls(
            tokens=tokens,
            inputs=activation_bytes(workload, tokens),
            queries=queries,
            outputs=activation_bytes(workload, tokens, workload.output_width),
            folded_queries=queries if is_folded else 0,
        )
