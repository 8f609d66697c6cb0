"""LongNet's dilated attention: segments of growing length and dilation, shifted by head.

Source: Ding et al., LongNet, arXiv 2307.02486, sections 2.2 and 2.3.
"""

from __future__ import annotations

from typing import Any

from attnprof.core.errors import UsageError
from attnprof.core.masks import MaskMod

_SEGMENTS = (2048, 4096, 8192, 16384, 32768)
_DILATIONS = (1, 2, 4, 6, 12)
"""Those of the paper, section 4."""


def make_mask(
    *, segments: tuple[int, ...] = _SEGMENTS, dilations: tuple[int, ...] = _DILATIONS
) -> MaskMod:
    """In head h, a query attends to its own and to earlier keys that share a segment with it.

    key <= query, and for one pair of a segment length w and a dilation r: key // w == query // w,
    and both positions are h mod r after a multiple of r, counted from the segment's begin. A pair
    of two segments counts once; LongNet computes it in both.

    Args:
        segments: w, tokens of a segment.
        dilations: r, one for each length of segments; one of them must be 1, so that every query
            attends to a key.

    Raises:
        UsageError: if there are not as many dilations as segments, or none of them is 1.
    """
    if len(segments) != len(dilations):
        raise UsageError("dilations", "+".join(map(str, dilations)), "must be as many as segments")
    if 1 not in dilations:
        raise UsageError("dilations", "+".join(map(str, dilations)), "must have a 1")

    def mask(batch: Any, head: Any, query: Any, key: Any) -> Any:
        shared = head < 0
        for width, stride in zip(segments, dilations, strict=True):
            shift = head % stride
            has_query = query % width % stride == shift
            has_key = key % width % stride == shift
            # The segment of positions that are chosen, and -1 and -2 for others: one comparison
            # of all queries with all keys is faster than three.
            of_query = (query // width + 1) * has_query - 1
            of_key = (key // width + 2) * has_key - 2
            shared = shared | (of_query == of_key)
        return shared & (key <= query)

    return mask
