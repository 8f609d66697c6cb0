"""Pictures of mask functions: pairs in the cells of a grid, heads that differ, keys in reach."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from attnprof.core.mask_pattern import MaskPattern

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TILE_PAIRS = 2**22
"""Pairs that are evaluated at a time."""


def mask_pairs_in_cells(
    layer: MaskPattern, head: int, edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Attended pairs of one head in each cell `(cells of queries, cells of keys)`.

    Args:
        layer: the pattern.
        head: index of the head.
        edges: ascending positions at which cells begin, from 0 to the length of the sequence
            `(cells + 1,)`, for queries and for keys.
    """
    of_heads = _pairs_in_cells(layer, tuple(edges.tolist()))
    return of_heads[head if len(of_heads) > 1 else 0]


@lru_cache(maxsize=8)
def _pairs_in_cells(layer: MaskPattern, edges: tuple[int, ...]) -> NDArray[np.int64]:
    import numpy as np

    starts, cells = np.array(edges[:-1]), len(edges) - 1
    pairs = np.zeros((layer.num_heads if layer.depends_on_head else 1, cells, cells), np.int64)
    for queries, mask in _strips(layer, edges[-1]):
        of_rows = np.add.reduceat(mask, starts, axis=2, dtype=np.int64)
        cell_of = np.searchsorted(np.array(edges), queries, "right") - 1
        for of_head, rows in zip(pairs, of_rows, strict=True):
            for cell in np.unique(cell_of):
                of_head[cell] += rows[cell_of == cell].sum(axis=0)
    return pairs


@lru_cache(maxsize=8)
def heads_alike(layer: MaskPattern, seq_len: int) -> tuple[tuple[int, ...], ...]:
    """Indices of heads in groups with equal masks, in the order of their first heads."""
    import numpy as np

    if not layer.depends_on_head:
        return (tuple(range(layer.num_heads)),)
    digests = [hashlib.blake2b() for _ in range(layer.num_heads)]
    for _, mask in _strips(layer, seq_len):
        for digest, of_head in zip(digests, mask, strict=True):
            digest.update(np.packbits(of_head).tobytes())
    groups: dict[bytes, list[int]] = {}
    for head, digest in enumerate(digests):
        groups.setdefault(digest.digest(), []).append(head)
    return tuple(tuple(group) for group in groups.values())


def keys_of_mask(layer: MaskPattern, queries: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The keys that any of these queries attends to, in any head `(seq_len,)`."""
    import numpy as np

    reached = np.zeros_like(queries)
    for positions, mask in _strips(layer, len(queries), queries.nonzero()[0]):
        assert len(positions) == mask.shape[1]
        reached |= mask.any(axis=(0, 1))
    return reached


def _strips(
    layer: MaskPattern, seq_len: int, queries: NDArray[np.int64] | None = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Queries, a few at a time, and their mask `(heads or 1, queries, seq_len)`."""
    import numpy as np

    chosen = np.arange(seq_len) if queries is None else queries
    heads = layer.num_heads if layer.depends_on_head else 1
    rows = max(1, _TILE_PAIRS // (seq_len * heads))
    for start in range(0, len(chosen), rows):
        some = chosen[start : start + rows]
        yield some, layer.function.attended(seq_len, layer.num_heads, some, np.arange(seq_len))
