"""Peak memory of attnprof's own kernels; the moments are those of `attnprof.nn.longformer`."""

from __future__ import annotations

from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.kernels.builtin._global_rows_memory import GlobalRows
from attnprof.kernels.builtin._memory import (
    LayerMemory,
    Projected,
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
    rows = GlobalRows.of(workload, layer)
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
