"""Types of tensors by the names that workloads give them."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from attnprof.workload import DType


def dtype_name(tensor: Tensor) -> DType:
    """`float32` for `torch.float32`."""
    return cast("DType", str(tensor.dtype).removeprefix("torch."))
