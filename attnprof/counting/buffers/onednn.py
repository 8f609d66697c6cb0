"""What oneDNN's products of half precisions pack their operands into: bounded, not told.

It depends on the CPU's instructions and on the version of the library.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnprof.core.cpu import cpu_threads, is_any_machine

_THREAD_BYTES = 2**21
"""The most that a thread was seen to take, rounded up."""
_TIMES = 3
"""The most times of what goes in and out that small products were seen to take, rounded up."""


def is_packed(tensor: Tensor) -> bool:
    """Whether oneDNN multiplies it: half precisions, on a CPU that has instructions for them."""
    if is_any_machine() or tensor.device.type != "cpu" or not torch._C._get_mkldnn_enabled():
        return False
    if tensor.dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if tensor.dtype is torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return False


def packed_bytes(tensor: Tensor, operand_bytes: int) -> int:
    """At most so many bytes for products of tensors like this one.

    Args:
        tensor: an operand.
        operand_bytes: of all that goes into one product and comes out.
    """
    if not is_packed(tensor):
        return 0
    return min(cpu_threads() * _THREAD_BYTES, _TIMES * operand_bytes)
