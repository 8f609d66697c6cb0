"""Prefix language models: full attention over a prefix, causal attention after it.

Source: Raffel et al., T5, arXiv 1910.10683, section 3.2.1, figure 4.
"""

from __future__ import annotations

from typing import Any

from attnprof.core.masks import MaskMod


def make_mask(*, prefix: int = 256) -> MaskMod:
    """A query attends to all keys of the prefix, to its own key and to the earlier ones.

    key < prefix or key <= query.

    Args:
        prefix: tokens of the prefix.
    """

    def mask(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return (key < prefix) | (key <= query)

    return mask
