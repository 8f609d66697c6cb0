"""Memory inside attention kernels on CUDA; `attnprof.core.cuda_attention` names the sources.

FlexAttention is meant as it is compiled: torch/_inductor/kernel/flex/flex_attention.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attnprof.counting.buffers.bounds import UNKNOWN_BYTES, Formula, InnerBytes, bytes_of, is_on_cpu
from attnprof.counting.cuda_attention import cuda_call

_aten = torch.ops.aten
_FLOAT = 4


def _flash(query: Tensor, key: Tensor, value: Tensor, dropout_p: float, **_: Any) -> int:
    # Keys are not split where weights are dropped.
    return 0 if dropout_p else cuda_call(query, key, value).forward_buffer_bytes("flash")


def _flash_backward(
    grad_out: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, **_: Any
) -> int:
    buffers = cuda_call(query, key, value).backward_buffer_bytes("flash")
    return buffers + _copied(grad_out) + _copied(out)


def _efficient(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> int:
    return cuda_call(query, key, value).forward_buffer_bytes("efficient")


def _efficient_backward(
    grad_out_: Tensor, query: Tensor, key: Tensor, value: Tensor, **_: Any
) -> int:
    return cuda_call(query, key, value).backward_buffer_bytes("efficient") + _copied(grad_out_)


def _copied(tensor: Tensor) -> int:
    """Bytes of a copy, if it is not contiguous as `(batch, tokens, heads, width)`."""
    return 0 if tensor.transpose(1, 2).is_contiguous() else bytes_of(tensor)


def _flex(query: Tensor, *_: Any, **__: Any) -> int | InnerBytes:
    return UNKNOWN_BYTES if is_on_cpu(query) else 0


def _flex_backward(query: Tensor, *_: Any, **__: Any) -> int | InnerBytes:
    """A sum for each query, of its output multiplied with the gradient of that."""
    return UNKNOWN_BYTES if is_on_cpu(query) else _FLOAT * query.shape[:3].numel()


BUFFERS: dict[Any, Formula] = {
    _aten._scaled_dot_product_flash_attention: _flash,
    _aten._scaled_dot_product_flash_attention_backward: _flash_backward,
    _aten._scaled_dot_product_efficient_attention: _efficient,
    _aten._scaled_dot_product_efficient_attention_backward: _efficient_backward,
    torch.ops.higher_order.flex_attention: _flex,
    torch.ops.higher_order.flex_attention_backward: _flex_backward,
}
