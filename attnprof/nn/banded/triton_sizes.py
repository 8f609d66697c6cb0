"""Sizes of the Triton kernels: blocks, warps, widths; in plain Python, without Triton."""

from __future__ import annotations

from dataclasses import dataclass

QUERIES_PER_PARTIAL_SUM = 1024
"""Queries whose gradients of global keys one program sums. With more, long sequences occupy fewer
processors; with fewer, more partial sums are stored."""

_LEAST_BLOCK = 16
"""The smallest side of a product in Triton."""


@dataclass(frozen=True, slots=True)
class TritonTile:
    """Sizes of one kernel.

    Attributes:
        queries: of a block.
        keys: of a block.
        warps: that compute a program, of 32 threads.
        stages: blocks that are loaded ahead of their computation, and the current one.
    """

    queries: int
    keys: int
    warps: int
    stages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonTiles:
    """Sizes of all kernels.

    Attributes:
        forward: a block of queries, over its blocks of keys.
        of_queries: backward, gradients of a block of queries, over its blocks of keys.
        of_keys: backward, gradients of a block of keys, over its blocks of queries.
    """

    forward: TritonTile
    of_queries: TritonTile
    of_keys: TritonTile


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSizes:
    """What a kernel is compiled for.

    Attributes:
        tile: its blocks.
        head_dim: width of queries and keys.
        value_dim: width of values.
        num_globals: the largest number of global tokens of a sequence.
        sharing: query heads of each head of keys.
        is_dilated: whether the dilation is more than 1.
        is_causal: whether no query attends to a later key.
        precision: of the products of float32, in Triton's words.
        adds: whether gradients of keys are added to those that are there.
    """

    tile: TritonTile
    head_dim: int
    value_dim: int
    num_globals: int
    sharing: int
    is_dilated: bool
    is_causal: bool
    precision: str
    adds: bool = False

    @property
    def queries(self) -> int:
        """Queries of a block."""
        return self.tile.queries

    @property
    def keys(self) -> int:
        """Keys of a block."""
        return self.tile.keys

    @property
    def globals(self) -> int:
        """Global keys of a block."""
        return global_block(self.num_globals, self.tile)

    @property
    def key_columns(self) -> int:
        """Columns of products with queries and keys."""
        return padded_width(self.head_dim)

    @property
    def value_columns(self) -> int:
        """Columns of products with values."""
        return padded_width(self.value_dim)


_HALF = {
    64: TritonTiles(
        forward=TritonTile(128, 64, 4, 3),
        of_queries=TritonTile(64, 64, 4, 3),
        of_keys=TritonTile(64, 64, 4, 2),
    ),
    128: TritonTiles(
        forward=TritonTile(128, 64, 8, 2),
        of_queries=TritonTile(64, 64, 4, 2),
        of_keys=TritonTile(32, 64, 4, 2),
    ),
    256: TritonTiles(
        forward=TritonTile(64, 32, 8, 2),
        of_queries=TritonTile(64, 32, 8, 2),
        of_keys=TritonTile(32, 32, 8, 1),
    ),
}
_FLOAT = {
    64: TritonTiles(
        forward=TritonTile(64, 32, 4, 2),
        of_queries=TritonTile(32, 32, 4, 2),
        of_keys=TritonTile(32, 32, 4, 2),
    ),
    128: TritonTiles(
        forward=TritonTile(32, 32, 4, 2),
        of_queries=TritonTile(32, 32, 8, 1),
        of_keys=TritonTile(32, 32, 8, 1),
    ),
}


def max_width(dtype_bytes: int) -> int:
    """The widest heads: a block of wider ones does not fit into the memory of a GPU's processor."""
    return max(_HALF if dtype_bytes < 4 else _FLOAT)


def triton_tiles(head_dim: int, value_dim: int, dtype_bytes: int) -> TritonTiles:
    """The sizes for heads of some width; not yet compared with others on a GPU."""
    table = _HALF if dtype_bytes < 4 else _FLOAT
    return table[next(width for width in table if max(head_dim, value_dim) <= width)]


def padded_width(width: int) -> int:
    """Columns of a product in Triton: a power of two."""
    return max(_LEAST_BLOCK, 1 << max(width - 1, 0).bit_length())


def global_block(num_globals: int, tile: TritonTile) -> int:
    """Global keys of a block: no more than it has keys of the band."""
    return min(tile.keys, padded_width(num_globals))
