"""Fixed attention of Sparse Transformers, both parts in one head.

Source: Child et al., Generating Long Sequences with Sparse Transformers, arXiv 1904.10509, section
4.3; a "merged head" attends to the union of its two parts (section 5.1).
"""

from __future__ import annotations

from typing import Any

from attnprof.core.masks import MaskMod


def make_mask(*, stride: int = 128, summary: int = 8) -> MaskMod:
    """A query attends to the keys of its block up to its own, and to summaries of earlier blocks.

    key <= query, and key // stride == query // stride or key mod stride >= stride - summary.

    Args:
        stride: l in the paper, tokens of a block.
        summary: c in the paper, keys at the end of each block that all later queries attend to.
    """

    def mask(batch: Any, head: Any, query: Any, key: Any) -> Any:
        is_near = key // stride == query // stride
        return (key <= query) & (is_near | (key % stride >= stride - summary))

    return mask
