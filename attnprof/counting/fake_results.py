"""Results on fake tensors of operators that torch computes on real tensors only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from attnprof.counting.mac_formulas import arguments_of

_aten = torch.ops.aten


class FakeResults(TorchDispatchMode):
    """The dispatch mode right above torch's fake tensors: supplies results that they refuse."""

    supports_higher_order_operators = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is _aten._grouped_mm.default:
            return _grouped_mm_output(**arguments_of(func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def _grouped_mm_output(
    self: Tensor, mat2: Tensor, offs: Tensor | None = None, out_dtype: Any = None, **_: Any
) -> Tensor:
    """On fake tensors torch accepts bfloat16 only, although its kernel accepts all float types.

    Source: torch/_meta_registrations.py, `_create_grouped_mm_output_tensor`.
    """
    groups = [] if offs is None or self.dim() + mat2.dim() == 5 else [offs.shape[0]]
    if self.dim() == mat2.dim() == 3:
        groups = [self.shape[0]]
    return self.new_empty([*groups, self.shape[-2], mat2.shape[-1]], dtype=out_dtype or self.dtype)
