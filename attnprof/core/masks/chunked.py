"""Chunked attention, as in the local layers of Llama 4.

Source: transformers, models/llama4, `attention_chunk_size` (8,192 in its configs), and
masking_utils.py, `chunked_overlay`.
"""

from __future__ import annotations

from typing import Any

from attnprof.core.masks import MaskMod


def make_mask(*, chunk: int = 8192) -> MaskMod:
    """A query attends to its own key and the earlier ones of its chunk.

    key <= query and key // chunk == query // chunk.

    Args:
        chunk: tokens of a chunk.
    """

    def mask(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return (key <= query) & (key // chunk == query // chunk)

    return mask
