"""`scaled_dot_product_attention` on fake CUDA tensors: the operators that torch runs on a GPU.

Source: PyTorch, aten/src/ATen/native/transformers/attention.cpp, scaled_dot_product_attention;
`attnprof.core.cuda_attention` has the choice of the kernel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnprof.core.cuda_attention import (
    HEAD_ALIGNMENT,
    MASK_ALIGNMENT,
    CudaAttention,
    CudaKernel,
)
from attnprof.core.workload import dtype_name

_aten = torch.ops.aten


def attention_on_cuda(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """As `torch.nn.functional.scaled_dot_product_attention`, with the same arguments."""
    inputs = (query, key, value)
    kernel = _kernel(inputs, attn_mask, is_causal, enable_gqa)
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        hidden = torch.scalar_tensor(-math.inf, dtype=query.dtype, device=query.device)
        attn_mask = torch.where(attn_mask, 0.0, hidden)
    if kernel == "flash":
        scale = scale if scale is not None else 1 / math.sqrt(query.shape[-1])
        padded = [_pad_last(tensor, HEAD_ALIGNMENT) for tensor in inputs]
        output = _aten._scaled_dot_product_flash_attention(
            *padded, dropout_p, is_causal, False, scale=scale
        )[0]
        return output[..., : query.shape[-1]] if padded[0] is not query else output
    if kernel == "efficient":
        if attn_mask is not None:
            attn_mask = _aligned(attn_mask).expand(*query.shape[:3], key.shape[2])
        needs_sums = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
        return _aten._scaled_dot_product_efficient_attention(
            *inputs, attn_mask, needs_sums, dropout_p, is_causal, scale=scale
        )[0]
    return _aten._scaled_dot_product_attention_math(
        *inputs, attn_mask, dropout_p, is_causal, None, scale=scale, enable_gqa=enable_gqa
    )[0]


def cuda_call(
    query: Tensor, key: Tensor, value: Tensor, *, has_mask: bool = False, is_causal: bool = False
) -> CudaAttention:
    """What the kernel depends on; the tensors are `(batch, heads, tokens, width)`."""
    return CudaAttention(
        batch=query.shape[0],
        heads=query.shape[1],
        kv_heads=key.shape[1],
        queries=query.shape[2],
        keys=key.shape[2],
        head_dim=query.shape[3],
        value_dim=value.shape[3],
        dtype=dtype_name(query),
        is_causal=is_causal,
        has_mask=has_mask,
    )


def _kernel(
    inputs: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, is_causal: bool, enable_gqa: bool
) -> CudaKernel:
    """The kernel of a call, given what is disabled, as by `torch.nn.attention.sdpa_kernel`."""
    if not _are_dense(*inputs, enable_gqa=enable_gqa):
        return "math"
    call = cuda_call(*inputs, has_mask=mask is not None, is_causal=is_causal)
    if call.can_be_flash and torch.backends.cuda.flash_sdp_enabled():
        return "flash"
    if call.can_be_efficient and torch.backends.cuda.mem_efficient_sdp_enabled():
        return "efficient"
    return "math"


def _are_dense(query: Tensor, key: Tensor, value: Tensor, *, enable_gqa: bool) -> bool:
    """Whether a fused kernel takes tensors of these shapes and strides."""
    if not query.dim() == key.dim() == value.dim() == 4:
        return False
    heads, kv_heads, value_heads = (tensor.shape[1] for tensor in (query, key, value))
    fits = kv_heads == value_heads and (heads % kv_heads == 0 if enable_gqa else heads == kv_heads)
    return (
        fits
        and query.shape[0] == key.shape[0] == value.shape[0]
        and min(query.shape[2], key.shape[2]) > 0
        and all(tensor.stride(-1) == 1 for tensor in (query, key, value))
    )


def _pad_last(tensor: Tensor, multiple: int) -> Tensor:
    missing = -tensor.shape[-1] % multiple
    return pad(tensor, (0, missing)) if missing else tensor


def _aligned(mask: Tensor) -> Tensor:
    """The mask, copied with padded rows if one of its rows does not begin at an aligned address."""
    strides = mask.stride()
    if strides[-1] == 1 and all(stride % MASK_ALIGNMENT == 0 for stride in strides[:-1]):
        return mask
    missing = MASK_ALIGNMENT - mask.shape[-1] % MASK_ALIGNMENT
    return pad(mask, (0, missing))[..., : mask.shape[-1]]
