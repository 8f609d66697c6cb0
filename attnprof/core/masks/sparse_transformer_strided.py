"""Strided attention of Sparse Transformers, both parts in one head.

Source: Child et al., Generating Long Sequences with Sparse Transformers, arXiv 1904.10509, section
4.3; a "merged head" attends to the union of its two parts (section 5.1).
"""

from __future__ import annotations

from typing import Any

from attnprof.core.masks import MaskMod


def make_mask(*, stride: int = 128) -> MaskMod:
    """A query attends to its own key, to the `stride` keys before it, and to every `stride`-th.

    key <= query, and query - key <= stride or (query - key) mod stride == 0.

    Args:
        stride: l in the paper, close to the square root of the length.
    """

    def mask(batch: Any, head: Any, query: Any, key: Any) -> Any:
        before = query - key
        return (before >= 0) & ((before <= stride) | (before % stride == 0))

    return mask
