"""What the Triton kernels execute and allocate, in closed form."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from attnprof.nn.banded.tiling import Sides, head_groups
from attnprof.nn.banded.triton_sizes import (
    QUERIES_PER_PARTIAL_SUM,
    TritonTile,
    TritonTiles,
    triton_tiles,
)
from attnprof.nn.banded.triton_tiling import computed_global_pairs, computed_pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonShape:
    """What the costs of one call depend on.

    Attributes:
        batch: sequences.
        seq_len: tokens.
        kv_heads: heads of keys and values.
        head_dim: width of queries and keys.
        value_dim: width of values.
        dtype_bytes: bytes of an element of the tensors.
        sides: keys before and after a query.
        dilation: the stride of each query head.
        num_globals: the largest number of global tokens of a sequence.
    """

    batch: int
    seq_len: int
    kv_heads: int
    head_dim: int
    value_dim: int
    dtype_bytes: int
    sides: Sides
    dilation: tuple[int, ...]
    num_globals: int

    @property
    def tiles(self) -> TritonTiles:
        """Sizes of the kernels."""
        return triton_tiles(self.head_dim, self.value_dim, self.dtype_bytes)

    def pairs(self, tile: TritonTile, *, by_keys: bool = False) -> int:
        """Pairs in all blocks of the band, of all heads of one sequence, masked ones included."""
        return sum(
            heads * computed_pairs(self.seq_len, dilation, tile, self.sides, by_keys=by_keys)
            for dilation, heads in Counter(self.dilation).items()
        )

    def global_pairs(self, tile: TritonTile) -> int:
        """Pairs in all blocks of global keys, of all heads of one sequence."""
        pairs = computed_global_pairs(self.seq_len, self.num_globals, tile)
        return len(self.dilation) * pairs

    @property
    def forward_macs(self) -> int:
        """MACs of the forward kernel; columns that pad a width to a power of two do not count."""
        tile = self.tiles.forward
        pairs = self.pairs(tile) + self.global_pairs(tile)
        return self.batch * pairs * (self.head_dim + self.value_dim)

    @property
    def backward_macs(self) -> int:
        """MACs of the backward kernels.

        Scores and the gradient of weights are computed twice: for the gradients of queries, which
        are a third product, and for those of keys and values, two more.
        """
        d, e = self.head_dim, self.value_dim
        of_queries, of_keys = self.tiles.of_queries, self.tiles.of_keys
        by_queries = self.pairs(of_queries) + self.global_pairs(of_queries)
        by_keys = self.pairs(of_keys, by_keys=True) + self.global_pairs(of_keys)
        return self.batch * (by_queries * (2 * d + e) + by_keys * (2 * d + 2 * e))

    @property
    def forward_bytes(self) -> int:
        """Temporary memory of the forward pass: the positions of global tokens."""
        return 4 * self.batch * self.num_globals

    @property
    def backward_bytes(self) -> int:
        """Temporary memory of the backward pass, beside the gradients that it returns.

        A number for each query; sums of the gradients of keys in float32 if query heads of several
        dilations share them; and partial sums of the gradients of global keys.
        """
        means = 4 * self.batch * len(self.dilation) * self.seq_len
        of_keys = self.batch * self.kv_heads * self.seq_len * (self.head_dim + self.value_dim)
        groups = head_groups(self.dilation, self.kv_heads)
        summed = 0
        if sum(len(group.keys) for group in groups) > self.kv_heads:
            summed = of_keys * (4 - self.dtype_bytes)
        converted = of_keys * self.dtype_bytes if summed else 0
        most_heads = max(len(group.keys) for group in groups)
        return self.forward_bytes + means + summed + max(self._partial_bytes(most_heads), converted)

    def _partial_bytes(self, heads: int) -> int:
        """Gradients of global keys in parts, and summed for the values, of some heads of keys."""
        if not self.num_globals:
            return 0
        rows = self.batch * heads * self.num_globals
        parts = -(-self.seq_len // QUERIES_PER_PARTIAL_SUM)
        in_parts = 4 * rows * parts * (self.head_dim + self.value_dim)
        size = self.dtype_bytes
        summed = rows * max(self.head_dim, self.value_dim) * (4 + (size if size < 4 else 0))
        return in_parts + 8 * self.batch * self.num_globals + summed
