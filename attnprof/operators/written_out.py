"""Operators that are run as what they are made of, to see what those allocate.

Source: torch/_higher_order_ops/flex_attention.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch


def written_out(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[], Any] | None:
    """Runs what the operator is made of; None where its own formula tells what it takes."""
    if func is torch.ops.higher_order.flex_attention:
        from torch._higher_order_ops.flex_attention import sdpa_dense

        return partial(sdpa_dense, *args, **kwargs)
    return None
