"""Look up torch's operators by name, skipping those that the installed version lacks."""

from __future__ import annotations

from typing import Any

import torch


def aten_operators(names: str) -> list[Any]:
    """The operators of `torch.ops.aten` with these names, all overloads of each.

    Args:
        names: separated by spaces; names that the installed torch does not have are skipped.
    """
    return [
        getattr(torch.ops.aten, name) for name in names.split() if hasattr(torch.ops.aten, name)
    ]
