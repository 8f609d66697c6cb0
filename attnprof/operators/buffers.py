"""Memory inside single operators, which no tensor holds, from the shapes they are called with.

A formula takes the operator's arguments by the names of its schema, and returns the most bytes that
it allocates at one time beside its outputs. Operators without one allocate nothing of note.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attnprof.fused_buffers import backward_buffer_bytes, forward_buffer_bytes
from attnprof.operators import banded
from attnprof.operators.dtypes import dtype_name
from attnprof.operators.formulas import arguments_of

_aten = torch.ops.aten


def buffer_bytes(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Bytes inside one call of an operator, as torch dispatches it."""
    formula = _BUFFERS.get(getattr(func, "overloadpacket", func))
    return formula(**arguments_of(func, args, kwargs)) if formula else 0


def _fused_on_cpu(query: Tensor, key: Tensor, **_: Any) -> int:
    batch, heads, queries, head_dim = query.shape
    return forward_buffer_bytes(batch * heads, queries, key.shape[2], head_dim, dtype_name(query))


def _fused_on_cpu_backward(query: Tensor, key: Tensor, **_: Any) -> int:
    return backward_buffer_bytes(query.shape[2], key.shape[2], dtype_name(query))


def _softmax_on_cpu(self: Tensor, **_: Any) -> int:
    """It is computed on a copy without gaps."""
    is_copied = self.device.type == "cpu" and not self.is_contiguous()
    return self.numel() * self.itemsize if is_copied else 0


_BUFFERS: dict[Any, Callable[..., int]] = {
    _aten._scaled_dot_product_flash_attention_for_cpu: _fused_on_cpu,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _fused_on_cpu_backward,
    _aten._softmax: _softmax_on_cpu,
    _aten._log_softmax: _softmax_on_cpu,
    **banded.BUFFERS,
}
