"""Memory of torch's fused attention beside its inputs and its output, on CPU and on CUDA."""

from __future__ import annotations

from dataclasses import dataclass

from attnprof.core.cuda_attention import CudaAttention, padded_mask_bytes
from attnprof.core.sdpa_buffers import backward_buffer_bytes, forward_buffer_bytes
from attnprof.core.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedMemory:
    """Bytes of one call.

    Attributes:
        forward: log-sum-exp and buffers in the forward pass.
        saved: what of them the backward pass needs: the log-sum-exp.
        backward: buffers in the backward pass.
        mask: the mask as numbers.
        mask_making: peak while the mask becomes numbers.
    """

    forward: int
    saved: int
    backward: int
    mask: int = 0
    mask_making: int = 0


def fused_call(
    workload: Workload,
    queries: int,
    keys: int,
    *,
    kv_heads: int | None = None,
    has_mask: bool = False,
) -> CudaAttention:
    """A call of fused attention; heads of keys are the workload's if `kv_heads` is None."""
    return CudaAttention(
        batch=workload.batch_size,
        heads=workload.num_heads,
        kv_heads=workload.kv_heads if kv_heads is None else kv_heads,
        queries=queries,
        keys=keys,
        head_dim=workload.head_dim,
        value_dim=workload.value_dim,
        dtype=workload.dtype,
        has_mask=has_mask,
    )


def fused_memory(
    workload: Workload, call: CudaAttention, masks: int = 0, mask_rows: int | None = None
) -> FusedMemory:
    """Memory of a call on the workload's device.

    Args:
        workload: the device, and whether there is a backward pass.
        call: the call.
        masks: masks of `(mask_rows, keys)` pairs, from truth values to numbers; 0 for none.
        mask_rows: rows of a mask; None for as many as queries.
    """
    rows = call.queries if mask_rows is None else mask_rows
    numeric = masks * rows * call.keys * workload.dtype_bytes
    if workload.device == "cuda":
        padded = padded_mask_bytes(masks, rows, call.keys, workload.dtype)
        requires_grad = workload.mode == "training"
        sums = call.log_sum_exp_bytes(call.kernel, requires_grad=requires_grad)
        return FusedMemory(
            forward=sums + call.forward_buffer_bytes(call.kernel),
            saved=sums,
            backward=call.backward_buffer_bytes(call.kernel),
            mask=padded or numeric,
            mask_making=numeric + padded,
        )
    attentions = call.batch * call.heads
    sums = attentions * call.queries * max(4, workload.dtype_bytes)
    buffers = forward_buffer_bytes(
        attentions, call.queries, call.keys, call.head_dim, workload.dtype
    )
    return FusedMemory(
        forward=sums + buffers,
        saved=sums,
        backward=backward_buffer_bytes(call.queries, call.keys, workload.dtype),
        mask=numeric,
        mask_making=numeric,
    )


def unsupported_on_cuda(workload: Workload, *calls: CudaAttention) -> str | None:
    """Why torch does not run fused kernels for one of the calls on CUDA; None if it does."""
    if workload.device != "cuda":
        return None
    for call in calls:
        if call.kernel == "math":
            return _why_not_fused(call)
        if call.kernel == "flash" and call.head_dim % 8:
            return f"torch pads heads on CUDA; head_dim {call.head_dim} is no multiple of 8"
    return None


def _why_not_fused(call: CudaAttention) -> str:
    if call.dtype == "float64":
        return "torch has no fused attention in float64 on CUDA"
    if call.kv_heads != call.heads:
        masked = " and under no mask" if call.has_mask else ""
        return f"torch fuses grouped heads on CUDA only in half precision{masked}"
    return f"torch fuses no heads of width {call.head_dim} in {call.dtype} on CUDA"
