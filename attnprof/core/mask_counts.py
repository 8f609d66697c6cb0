"""What a mask lets through, counted block by block in bounded memory.

Every pair of a sequence is evaluated once, in tiles of some million pairs: the time grows with the
square of the length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from attnprof.core.errors import MeasurementError
from attnprof.core.mask_function import MaskCounts, MaskFunction, RecordedMask
from attnprof.core.units import format_tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 128
"""Tokens on each side of a block, as in FlexAttention."""

MAX_PAIRS = 2**36
"""The most pairs of queries and keys that are evaluated for one length, heads included."""

_TILE_PAIRS = 2**20
"""Pairs that are evaluated at a time."""

_known: dict[tuple[MaskFunction, int, int, int], MaskCounts] = {}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskBlocks:
    """The blocks of a mask.

    Attributes:
        pairs: attended pairs in each block `(heads or 1, rows, columns)`.
        sizes: pairs in each block, attended or not `(rows, columns)`.
        is_causal: whether no query attends to a later key.
        has_empty_rows: whether a query attends to no key.
    """

    pairs: NDArray[np.uint16]
    sizes: NDArray[np.int64]
    is_causal: bool
    has_empty_rows: bool

    def of_head(self, head: int) -> NDArray[np.uint16]:
        """Attended pairs in each block of a head `(rows, columns)`."""
        return self.pairs[head if len(self.pairs) > 1 else 0]

    def counts(self, num_heads: int) -> MaskCounts:
        """The totals of all heads."""
        heads_alike = num_heads // len(self.pairs)
        return MaskCounts(
            pairs=heads_alike * int(self.pairs.sum(dtype="int64")),
            block_scores=heads_alike * int(((self.pairs > 0) * self.sizes).sum()),
            is_causal=self.is_causal,
            has_empty_rows=self.has_empty_rows,
        )


def mask_counts(
    function: MaskFunction, num_heads: int, seq_len: int, queries: int | None = None
) -> MaskCounts:
    """What a mask lets through; each length is evaluated once in a process.

    Args:
        function: the mask.
        num_heads: heads of the layer.
        seq_len: tokens in the sequence, all of them keys.
        queries: how many of the last tokens are queries; None for all.

    Raises:
        MeasurementError: when there are more than `MAX_PAIRS` pairs to evaluate, or results that
            were read from a file do not have the length.
    """
    rows = queries or seq_len
    if isinstance(function, RecordedMask):
        return function.known(num_heads, seq_len, rows)
    key = (function, num_heads, seq_len, rows)
    if key not in _known:
        _known[key] = mask_blocks(function, num_heads, seq_len, rows).counts(num_heads)
    return _known[key]


def known_counts(function: MaskFunction) -> dict[tuple[int, int, int], MaskCounts]:
    """All that was counted of a mask, by heads, length and queries."""
    if isinstance(function, RecordedMask):
        return dict(function.counts)
    return {key[1:]: counts for key, counts in _known.items() if key[0] == function}


@lru_cache(maxsize=16)
def mask_blocks(
    function: MaskFunction, num_heads: int, seq_len: int, queries: int | None = None
) -> MaskBlocks:
    """The attended pairs in each block; rows of blocks begin with the first query.

    Args:
        function: the mask.
        num_heads: heads of the layer.
        seq_len: tokens in the sequence, all of them keys.
        queries: how many of the last tokens are queries; None for all.

    Raises:
        MeasurementError: when there are more than `MAX_PAIRS` pairs to evaluate.
    """
    import numpy as np

    rows = queries or seq_len
    if rows * seq_len > MAX_PAIRS:
        raise MeasurementError(f"{format_tokens(seq_len)} {too_long(function.text, 1)}")
    edges = [np.append(np.arange(0, tokens, BLOCK), tokens) for tokens in (rows, seq_len)]
    strips: list[_Strip] = []
    for start in range(seq_len - rows, seq_len, BLOCK):
        positions = np.arange(start, min(start + BLOCK, seq_len))
        strips.append(_strip(function, num_heads, seq_len, positions))
        heads = len(strips[-1].pairs)
        if heads * rows * seq_len > MAX_PAIRS:
            raise MeasurementError(f"{format_tokens(seq_len)} {too_long(function.text, heads)}")
    return MaskBlocks(
        pairs=np.stack([strip.pairs for strip in strips], axis=1),
        sizes=np.outer(*map(np.diff, edges)),
        is_causal=all(strip.is_causal for strip in strips),
        has_empty_rows=any(strip.has_empty_rows for strip in strips),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Strip:
    """One row of blocks: pairs `(heads or 1, columns)`, and what is known of its queries."""

    pairs: NDArray[np.uint16]
    is_causal: bool
    has_empty_rows: bool


def _strip(
    function: MaskFunction, num_heads: int, seq_len: int, queries: NDArray[np.int64]
) -> _Strip:
    import numpy as np

    pairs: list[NDArray[np.uint16]] = []
    is_causal, attends = True, np.zeros((1, len(queries)), dtype=np.bool_)
    heads, start = 1, 0
    while start < seq_len:
        width = max(BLOCK, _TILE_PAIRS // (heads * len(queries)) // BLOCK * BLOCK)
        keys = np.arange(start, min(start + width, seq_len))
        mask = function.attended(seq_len, num_heads, queries, keys)
        heads = len(mask)
        pairs.append(_pairs_in_blocks(mask))
        attends = attends | mask.any(2)
        is_causal = is_causal and not _has_later(mask, pairs[-1], queries, keys)
        start += width
    return _Strip(np.concatenate(pairs, axis=1), is_causal, not bool(attends.all()))


def too_long(text: str, heads: int) -> str:
    """How long a sequence may be whose mask is evaluated.

    Args:
        text: the mask.
        heads: 1 if all heads are alike.
    """
    longest = math.isqrt(MAX_PAIRS // heads)
    each = f" for each of {heads} heads" if heads > 1 else ""
    return (
        f"must be at most {format_tokens(longest)}: {text} is evaluated at all pairs of queries "
        f"and keys{each}"
    )


def _pairs_in_blocks(mask: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Attended pairs of at most 128 queries in each block of keys `(heads, columns)`."""
    import numpy as np

    # At most 128 queries: their sum fits into 8 bits.
    of_keys = mask.view(np.uint8).sum(axis=1, dtype=np.uint8)
    padding = -of_keys.shape[1] % BLOCK
    padded = np.pad(of_keys, ((0, 0), (0, padding)))
    return padded.reshape(len(mask), -1, BLOCK).sum(axis=2, dtype=np.uint16)


def _has_later(
    mask: NDArray[np.bool_],
    pairs: NDArray[np.uint16],
    queries: NDArray[np.int64],
    keys: NDArray[np.int64],
) -> bool:
    """Whether a query of a tile attends to a later key.

    Args:
        mask: the tile `(heads, queries, keys)`.
        pairs: attended pairs in its blocks of keys `(heads, columns)`.
        queries: positions of its queries.
        keys: positions of its keys.
    """
    if keys[-1] <= queries[0]:
        return False
    if pairs[:, keys[::BLOCK] > queries[-1]].any():
        return True
    around = (keys > queries[0]) & (keys <= queries[-1])
    return bool((mask[:, :, around] & (keys[around] > queries[:, None])).any())
