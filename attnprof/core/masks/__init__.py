"""Masks that `--pattern` names, one file each.

A file has `make_mask`, a function that makes a mask in FlexAttention's signature,
`mask(batch, head, query, key) -> bool`. Its operators work on numpy arrays and on torch tensors
alike. Each parameter is a whole number, or a tuple of them; `seq_len`, `num_heads` and `as_table`,
which turns a numpy array into what the positions can index, are passed to those that name them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from attnprof.core.discovery import module_names

MaskMod = Callable[[Any, Any, Any, Any], Any]
"""`mask(batch, head, query, key)`: whether a query of a head attends to a key, elementwise."""

MakeMask = Callable[..., MaskMod]


@cache
def names() -> tuple[str, ...]:
    """Names of the masks, from the names of their files; none of them is imported."""
    return tuple(name.replace("_", "-") for name in module_names(__path__))


@cache
def maker(name: str) -> MakeMask:
    """What makes the mask of a name.

    Args:
        name: one of `names`.
    """
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return cast("MakeMask", module.make_mask)
