"""Upper bounds for the buffers into which oneDNN packs operands of half-precision products.

Their exact size depends on the CPU's instructions and on the version of the library.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnprof.core.cpu import cpu_threads, is_any_machine

_BYTES_PER_THREAD = 2**21
"""The most that one thread was measured to allocate, rounded up."""

_MULTIPLE_OF_OPERANDS = 3
"""The most that small products were measured to allocate, in multiples of their operands and
results, rounded up."""


def is_packed(tensor: Tensor) -> bool:
    """Whether oneDNN packs it: half precision, on a CPU with instructions for that type."""
    if is_any_machine() or tensor.device.type != "cpu" or not torch._C._get_mkldnn_enabled():
        return False
    if tensor.dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if tensor.dtype is torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return False


def packed_bytes(tensor: Tensor, operand_bytes: int) -> int:
    """An upper bound for the buffers of products with an operand like `tensor`.

    Args:
        tensor: an operand.
        operand_bytes: bytes of the operands and the result of one product.
    """
    if not is_packed(tensor):
        return 0
    return min(cpu_threads() * _BYTES_PER_THREAD, _MULTIPLE_OF_OPERANDS * operand_bytes)
