"""How a band of keys is cut into tiles of queries and keys.

Tokens that are equal modulo the dilation form chains: a dilated band is a band without dilation in
each of its chains (Longformer, arXiv 2004.05150, section 3.1, draws the band). A chain is cut into
blocks of queries; a block of B queries reads B + w keys, of which each query reads w + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class TileSizes:
    """How large the pieces are.

    Attributes:
        block: queries of a tile. The fewer, the fewer scores are computed in vain: B + w keys are
            multiplied where w + 1 are read; the more, the faster runs each product.
        border_block: the same at the ends of a sequence, where each block is a call of its own.
        tokens_at_a_time: tokens of one call of an attention operator, and of the chains that are
            gathered at one time; more take more memory.
    """

    block: int
    edge_block: int
    tokens_per_call: int


@dataclass(frozen=True, slots=True)
class ChainGroup:
    """Chains of equal length, side by side: chain c has the positions first + c + dilation * t.

    Attributes:
        first: position of the first token of the first chain.
        count: how many there are.
        length: tokens of each.
        dilation: positions between neighbours in a chain.
    """

    first: int
    count: int
    length: int
    dilation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRun:
    """Tiles of one shape at equal distances: one call of an attention operator.

    Chains are thought one behind the other, without gaps. Tile t has the queries
    `first_query + t * spacing + i` for i < `queries`, and the keys `first_key + t * spacing + j`
    for j < `keys`.

    Attributes:
        first_query: the first query of the first tile.
        first_key: the first key of the first tile.
        queries: queries of a tile.
        keys: keys of a tile.
        tiles: how many there are.
        spacing: tokens between the beginning of one tile and that of the next.
        band_offset: query i reads key j if 0 <= j + band_offset - i <= window; None where every
            query reads every key.
    """

    first_query: int
    first_key: int
    queries: int
    keys: int
    tiles: int
    spacing: int
    band_offset: int | None

    @property
    def scores(self) -> int:
        """Scores computed for one head, masked ones included."""
        return self.tiles * self.queries * self.keys

    @property
    def last_query(self) -> int:
        """The last query of the last tile."""
        return self.first_query + (self.tiles - 1) * self.spacing + self.queries - 1

    def parts(self, tokens_at_a_time: int) -> Iterator[TileRun]:
        """The same tiles, in runs of so many queries or, where it has more, of one tile."""
        tiles = max(1, tokens_at_a_time // self.queries)
        if tiles >= self.tiles:
            yield self
            return
        for start in range(0, self.tiles, tiles):
            yield replace(
                self,
                first_query=self.first_query + start * self.spacing,
                first_key=self.first_key + start * self.spacing,
                tiles=min(tiles, self.tiles - start),
            )


def chains(seq_len: int, dilation: int, tokens_at_a_time: int) -> Iterator[ChainGroup]:
    """All chains of a sequence, as many at a time as have so many tokens, or one."""
    longest = -(-seq_len // dilation)
    with_longest = seq_len - dilation * (longest - 1)
    for first, stop, length in (
        (0, with_longest, longest),
        (with_longest, dilation, longest - 1),
    ):
        count = max(1, tokens_at_a_time // max(1, length))
        for start in range(first, stop if length else first, count):
            yield ChainGroup(start, min(count, stop - start), length, dilation)


@lru_cache(maxsize=1024)
def runs(length: int, count: int, window: int, cut: TileSizes) -> tuple[TileRun, ...]:
    """All tiles of some chains; each (query, key) pair of the band lies in exactly one of them.

    Blocks at the ends of a chain, where keys are missing, differ from one another: a run has the
    same block of all chains. Those between the ends are alike: a run has all of one chain or, where
    there are more chains than such blocks, one of all chains.

    Args:
        length: tokens of a chain.
        count: chains.
        window: keys around a query, w/2 on each side.
        cut: how large tiles are.
    """
    reach = window // 2

    def run(
        first: int, last: int, *, chain: int = 0, tiles: int = count, spacing: int = 0
    ) -> TileRun:
        """Queries from the `first` up to the `last` of a chain, and all keys that they read."""
        first_key, last_key = max(0, first - reach), min(length, last + reach)
        reads_all = first_key >= last - 1 - reach and last_key - 1 <= first + reach
        return TileRun(
            first_query=chain * length + first,
            first_key=chain * length + first_key,
            queries=last - first,
            keys=last_key - first_key,
            tiles=tiles,
            spacing=spacing or length,
            band_offset=None if reads_all else first_key - (first - reach),
        )

    if reach >= length - 1:
        return (run(0, length),)
    block = cut.block
    inner_start = min(length, -(-reach // block) * block)
    inner_stop = max(inner_start, (length - reach) // block * block)
    inner_blocks = (inner_stop - inner_start) // block
    all_runs = [
        run(first, min(first + cut.edge_block, stop))
        for start, stop in ((0, inner_start), (inner_stop, length))
        for first in range(start, stop, cut.edge_block)
    ]
    if inner_blocks < count:
        all_runs += [run(i, i + block) for i in range(inner_start, inner_stop, block)]
    else:
        all_runs += [
            run(inner_start, inner_start + block, chain=chain, tiles=inner_blocks, spacing=block)
            for chain in range(count)
        ]
    return tuple(all_runs)


def scores(seq_len: int, window: int, dilation: int, cut: TileSizes) -> int:
    """Scores computed for one head of one sequence, masked ones included."""
    return sum(
        run.scores
        for part in chains(seq_len, dilation, cut.tokens_per_call)
        for run in runs(part.length, part.count, window, cut)
    )


def fused_forward_tile_sizes(dtype_bytes: int) -> TileSizes:
    """The fastest for fused attention on CPU; for half precisions it copies the keys of a tile."""
    return TileSizes(32, 256, 1024) if dtype_bytes >= 4 else TileSizes(192, 192, 1536)


def fused_backward_tile_sizes(dtype_bytes: int, window: int) -> TileSizes:
    """Wider than forward: the gradient of a key is added up over all tiles that read it."""
    narrow_enough = max(32, window // 64 * 32)
    return TileSizes(min(192, narrow_enough) if dtype_bytes >= 4 else 192, 256, 768)


def matmul_tile_sizes(window: int, on_cpu: bool) -> TileSizes:
    """For plain products: scores of one head fit into a cache of 1 to 2 MB, or fill a GPU."""
    if on_cpu:
        return TileSizes(min(128, max(32, window // 64 * 32)), 128, 512)
    return TileSizes(min(256, max(64, window // 2)), 256, 4096)
