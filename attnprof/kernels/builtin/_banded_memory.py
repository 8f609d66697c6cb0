"""Peak memory of attnprof's own kernels; the moments are those of `attnprof.nn.longformer`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attnprof.core.global_queries import GlobalQueries
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.kernels.builtin._fused import fused_call, fused_memory
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    Projected,
    activation_bytes,
    has_residual,
    log_sum_exp_bytes,
    projection_backward_bytes,
)
from attnprof.nn.banded.matmul_memory import matmul_backward_bytes, matmul_forward_bytes
from attnprof.nn.banded.memory import BandedShape, backward_tiles_bytes, forward_tiles_bytes


def layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    """Memory of one attention in tiles."""
    sizes = Projected.of(workload)
    banded = BandedShape(
        seq_len=workload.seq_len,
        kv_heads=workload.kv_heads,
        head_dim=workload.head_dim,
        value_dim=workload.value_dim,
        dtype=workload.dtype,
        sides=layer.sides(workload.seq_len),
        dilation=layer.dilation,
        num_globals=len(layer.global_positions),
    )
    backward = 0
    is_on_cpu = workload.device == "cpu"
    if workload.mode == "training":
        of_keys = sizes.key + sizes.value
        accumulated = of_keys // workload.dtype_bytes * banded.accumulator_bytes
        converted = of_keys if accumulated > of_keys else 0
        backward = accumulated - of_keys
        if is_on_cpu:
            backward += max(backward_tiles_bytes(banded), converted)
        else:
            backward += matmul_backward_bytes(banded, converted)
    forward = forward_tiles_bytes(banded) if is_on_cpu else matmul_forward_bytes(banded)
    return memory_around(workload, layer, forward, backward)


def memory_around(
    workload: Workload, layer: AttentionPattern, forward: int, backward: int
) -> LayerMemory:
    """Memory of one attention; in inference, the output overwrites the queries.

    Args:
        workload: the call.
        layer: its pattern.
        forward: bytes of what the forward pass allocates beside output and log-sum-exp.
        backward: bytes of what the backward pass allocates beside the gradients of query, key and
            value.
    """
    sizes = Projected.of(workload)
    sums = log_sum_exp_bytes(workload, workload.seq_len)
    rows = _GlobalRows.of(workload, layer)
    if workload.mode == "inference":
        written = 0 if workload.value_dim == workload.head_dim else sizes.output
        attention = rows.output + sizes.projected + written + sums + forward
        return LayerMemory(forward=max(rows.forward, attention))
    saved = sizes.projected + sizes.output + sums + rows.saved
    return LayerMemory(
        forward=max(rows.forward, saved + rows.held + forward),
        saved=saved,
        output_backward=saved - sizes.output + sizes.projected + backward,
        projection_backward=max(
            rows.saved
            + rows.output
            + projection_backward_bytes(sizes, has_residual=has_residual(workload)),
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
        output: its output, `(batch, global tokens, output width)`, or the gradient of that.
        held: the output while the other tokens attend, unless it is saved anyway.
        saved: what it leaves for the backward pass.
        backward: peak while its gradients are computed, beside the gradients of the other
            projections' weights and their contribution to the input's.
    """

    forward: int = 0
    output: int = 0
    held: int = 0
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
        sizes = Projected.of(workload)
        of_keys = sizes.key + sizes.value
        inputs = rows.inputs if workload.mode == "training" else 0
        heads = workload.kv_heads
        call = replace(fused_call(workload, rows.folded, workload.seq_len), heads=heads)
        fused = fused_memory(workload, call)
        saved = inputs + rows.queries + rows.outputs + of_keys + fused.saved
        buffers = fused.forward - fused.saved
        # The gradient of the output is copied to another layout.
        copied = rows.outputs if workload.kv_heads > 1 else 0
        return cls(
            forward=saved + rows.folded_queries + buffers,
            output=rows.outputs,
            held=rows.unfolded_outputs,
            saved=saved,
            backward=max(
                saved
                + rows.outputs
                + copied
                + rows.queries
                + of_keys
                + fused.backward,
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
        if workload.mode == "inference":
            return cls(
                forward=2 * rows.queries
                + max(
                    rows.folded_queries + 2 * wide,
                    wide + 2 * scores * size,
                    scores * size + weights,
                    scores * size + 2 * wide + rows.outputs,
                ),
                output=rows.outputs,
            )
        saved = rows.inputs + rows.queries + 2 * wide + weights
        if 1 < workload.kv_heads < workload.num_heads and workload.batch_size > 1:
            saved += rows.queries  # by heads of keys, then by sequences
        return cls(
            forward=saved + rows.queries + rows.outputs + scores * size,
            output=rows.outputs,
            held=rows.outputs,
            saved=saved,
            backward=max(
                sizes.hidden
                + sizes.value_weight
                + saved
                + 2 * rows.queries
                + 2 * rows.outputs
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
        folded: queries of one head of keys, those of all query heads that share it.
        folded_queries: the queries, if they are copied to be folded.
        unfolded_outputs: the outputs, if they are copied to be unfolded.
    """

    tokens: int
    inputs: int
    queries: int
    outputs: int
    folded: int
    folded_queries: int
    unfolded_outputs: int

    @classmethod
    def of(cls, workload: Workload, tokens: int) -> _RowSizes:
        """Sizes for that many global tokens of each sequence."""
        queries = activation_bytes(workload, tokens, workload.query_width)
        sharing = workload.num_heads // workload.kv_heads
        outputs = activation_bytes(workload, tokens, workload.output_width)
        return cls(
            tokens=tokens,
            inputs=activation_bytes(workload, tokens),
            queries=queries,
            outputs=outputs,
            folded=tokens * sharing,
            folded_queries=queries if sharing > 1 and tokens > 1 else 0,
            unfolded_outputs=outputs if sharing > 1 and workload.kv_heads > 1 else 0,
        )
