"""How a band of keys is cut into tiles of queries and keys.

Tokens with positions that are equal modulo the dilation form a chain; within each chain, a dilated
band is a band without dilation (Longformer, arXiv 2004.05150, section 3.1 and figure 2, shows the
band). A chain is cut into blocks of queries. With l keys before a query and r after it, a block of
B queries needs B + l + r keys, and each of its queries attends to l + r + 1 of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby

from attnprof.core.blocks import BlockRun

Sides = tuple[int, int]
"""Keys before and after a query, l and r, in steps of its dilation."""


@dataclass(frozen=True, slots=True)
class TileSizes:
    """Sizes of tiles and of operator calls, in tokens.

    Attributes:
        block: queries B of a tile. With fewer, fewer masked scores are computed: B + l + r keys are
            multiplied while a query attends to l + r + 1. With more, each product runs faster.
        edge_block: queries of a tile at the ends of a sequence, where each block is a separate
            call.
        tokens_per_call: queries of one call of an attention operator, and of the chains that are
            gathered at one time; more take more memory.
    """

    block: int
    edge_block: int
    tokens_per_call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadGroup:
    """Neighbouring query heads of equal dilation, equally many for each head of keys.

    Attributes:
        queries: the heads of queries.
        keys: the heads of keys and values.
        dilation: distance in tokens between neighbouring keys.
    """

    queries: range
    keys: range
    dilation: int


def head_groups(dilation: Sequence[int], kv_heads: int) -> list[HeadGroup]:
    """All query heads, in as few groups as possible.

    Args:
        dilation: of each query head.
        kv_heads: heads of keys and values; they divide the number of query heads, of which
            neighbouring ones share a head of keys.
    """
    sharing = len(dilation) // kv_heads
    groups: list[HeadGroup] = []
    for kv_head in range(kv_heads):
        start = kv_head * sharing
        for stride, heads in groupby(dilation[start : start + sharing]):
            stop = start + len(list(heads))
            queries, keys = range(start, stop), range(kv_head, kv_head + 1)
            last = groups[-1] if groups else None
            if last and last.dilation == stride and _are_whole(last, queries, sharing):
                queries, keys = range(last.queries.start, stop), range(last.keys.start, keys.stop)
                groups.pop()
            groups.append(HeadGroup(queries=queries, keys=keys, dilation=stride))
            start = stop
    return groups


def _are_whole(group: HeadGroup, queries: range, sharing: int) -> bool:
    """Whether a group, and the queries of the next head of keys, are all that share their keys."""
    return len(group.queries) == sharing * len(group.keys) and len(queries) == sharing


@dataclass(frozen=True, slots=True)
class ChainGroup:
    """Neighbouring chains of equal length: chain c has the positions first + c + dilation * t.

    Attributes:
        first: position of the first token of the first chain.
        count: the number of chains.
        length: tokens of each chain.
        dilation: distance in tokens between neighbours in a chain.
    """

    first: int
    count: int
    length: int
    dilation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRun:
    """Tiles of one shape at equal distances, which one call of an attention operator computes.

    Indices count the tokens of concatenated chains. Tile t has the queries
    `first_query + t * spacing + i` for i < `queries`, and the keys `first_key + t * spacing + j`
    for j < `keys`.

    Attributes:
        first_query: index of the first query of the first tile.
        first_key: index of the first key of the first tile.
        queries: queries of a tile.
        keys: keys of a tile.
        tiles: the number of tiles.
        spacing: tokens from the beginning of one tile to that of the next.
        band_offset: query i attends to key j if 0 <= j + band_offset - i <= l + r; None if every
            query attends to every key.
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
        """Index of the last query of the last tile."""
        return self.first_query + (self.tiles - 1) * self.spacing + self.queries - 1

    def parts(self, tokens_per_call: int) -> Iterator[TileRun]:
        """The same tiles, in runs of at most this many queries, or of one tile if it has more."""
        tiles = max(1, tokens_per_call // self.queries)
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


def chains(seq_len: int, dilation: int, tokens_per_call: int) -> Iterator[ChainGroup]:
    """All chains of a sequence, in groups of at most this many tokens, or of one chain."""
    longest = -(-seq_len // dilation)
    with_longest = seq_len - dilation * (longest - 1)
    for first, stop, length in (
        (0, with_longest, longest),
        (with_longest, dilation, longest - 1),
    ):
        count = max(1, tokens_per_call // max(1, length))
        for start in range(first, stop if length else first, count):
            yield ChainGroup(start, min(count, stop - start), length, dilation)


@lru_cache(maxsize=1024)
def runs(length: int, count: int, sides: Sides, sizes: TileSizes) -> tuple[TileRun, ...]:
    """All tiles of some chains; each (query, key) pair of the band is in exactly one of them.

    Blocks at the ends of a chain, where keys are missing, differ from one another: a run contains
    the same block of all chains. Blocks between the ends are alike: a run contains all blocks of
    one chain or, if there are more chains than such blocks, one block of all chains.

    Args:
        length: tokens of a chain.
        count: the number of chains.
        sides: keys before and after a query.
        sizes: of the tiles.
    """
    if min(sides) >= length - 1:
        return (_run(length, count, sides, 0, length),)
    edges = [
        _run(length, count, sides, first, min(first + sizes.edge_block, blocks.stop))
        for blocks in _edge_blocks(length, sides, sizes)
        for first in blocks
    ]
    return (*edges, *_inner_runs(length, count, sides, sizes.block))


def largest_runs(length: int, count: int, sides: Sides, sizes: TileSizes) -> tuple[TileRun, ...]:
    """A few of `runs`, the largest of them, in time that does not depend on the length.

    At the beginning of a chain, blocks have more keys from one to the next, at its end fewer; so
    the largest is at an end, or where queries begin or cease to attend to all keys of their block.
    """
    if min(sides) >= length - 1:
        return runs(length, count, sides, sizes)
    left, right = sides
    edges: list[TileRun] = []
    for blocks in _edge_blocks(length, sides, sizes):
        turns = (length - 1 - right, left + 1 - blocks.step)
        near = {
            (turn - blocks.start) // blocks.step + step for turn in turns for step in (-1, 0, 1, 2)
        }
        near |= {0, len(blocks) - 2, len(blocks) - 1}
        firsts = [blocks[index] for index in near if 0 <= index < len(blocks)]
        edges += [
            _run(length, count, sides, first, min(first + blocks.step, blocks.stop))
            for first in firsts
        ]
    start, stop = _inner(length, sides, sizes.block)
    if stop == start:
        return tuple(edges)
    inner = _run(length, count, sides, start, start + sizes.block)
    tiles = (stop - start) // sizes.block
    # as in `_inner_runs`: one block of all chains, or all blocks of one chain
    of_chain = replace(inner, tiles=tiles, spacing=sizes.block)
    return (*edges, inner if tiles < count else of_chain)


def _edge_blocks(length: int, sides: Sides, sizes: TileSizes) -> tuple[range, range]:
    """First queries of the blocks at the two ends of a chain."""
    start, stop = _inner(length, sides, sizes.block)
    return range(0, start, sizes.edge_block), range(stop, length, sizes.edge_block)


def _inner_runs(length: int, count: int, sides: Sides, block: int) -> list[TileRun]:
    """Runs of the blocks between the ends of chains."""
    start, stop = _inner(length, sides, block)
    blocks = (stop - start) // block
    if blocks < count:
        return [
            _run(length, count, sides, first, first + block) for first in range(start, stop, block)
        ]
    of_chain = replace(
        _run(length, count, sides, start, start + block), tiles=blocks, spacing=block
    )
    return [
        replace(
            of_chain,
            first_query=of_chain.first_query + chain * length,
            first_key=of_chain.first_key + chain * length,
        )
        for chain in range(count)
    ]


def _run(length: int, count: int, sides: Sides, first: int, last: int) -> TileRun:
    """Queries `first` to `last - 1` of each of some chains, and all keys that they attend to."""
    left, right = sides
    first_key, last_key = max(0, first - left), min(length, last + right)
    attends_to_all = first_key >= last - 1 - left and last_key - 1 <= first + right
    return TileRun(
        first_query=first,
        first_key=first_key,
        queries=last - first,
        keys=last_key - first_key,
        tiles=count,
        spacing=length,
        band_offset=None if attends_to_all else first_key - (first - left),
    )


def block_runs(seq_len: int, sides: Sides, dilation: int, sizes: TileSizes) -> Iterator[BlockRun]:
    """All tiles of one head, by the positions of their queries and keys in the sequence."""
    for group in chains(seq_len, dilation, sizes.tokens_per_call):
        for run in runs(group.length, group.count, sides, sizes):
            # Tiles are one chain apart, or follow one another in a chain.
            step = 1 if run.spacing == group.length else run.spacing * dilation
            yield BlockRun(
                _positions(group, run.first_query, run.queries),
                _positions(group, run.first_key, run.keys),
                run.tiles,
                step,
                step,
            )


def _positions(group: ChainGroup, index: int, tokens: int) -> range:
    """Positions in the sequence of consecutive tokens of a chain, from an index on."""
    chain, token = divmod(index, group.length)
    first = group.first + chain + group.dilation * token
    return range(first, first + group.dilation * tokens, group.dilation)


def scores(seq_len: int, sides: Sides, dilation: int, sizes: TileSizes) -> int:
    """Scores computed for one head of one sequence, masked ones included, in closed form."""
    return sum(
        group.count * _chain_scores(group.length, sides, sizes)
        for group in chains(seq_len, dilation, sizes.tokens_per_call)
    )


def _chain_scores(length: int, sides: Sides, sizes: TileSizes) -> int:
    """Scores of all tiles of one chain, those of `runs`."""
    left, right = sides
    if min(left, right) >= length - 1:
        return length**2
    inner_start, inner_stop = _inner(length, sides, sizes.block)
    return (
        (inner_stop - inner_start) * (left + sizes.block + right)
        + _edge_scores(0, inner_start, length, sides, sizes.edge_block)
        + _edge_scores(inner_stop, length, length, sides, sizes.edge_block)
    )


def _edge_scores(start: int, stop: int, length: int, sides: Sides, block: int) -> int:
    """Scores of blocks of queries `start` to `stop - 1`, where keys are missing on some side."""
    left, right = sides
    blocks, rest = divmod(stop - start, block)
    # The keys of block i end before min(length, end + block i), and begin at max(0, begin + ...).
    end, begin = start + block + right, start - left
    inside = min(blocks, max(0, -(-(length - end) // block)))
    ends = _progression(end, block, inside) + (blocks - inside) * length
    outside = min(blocks, max(0, -(begin // block)))
    begins = _progression(begin + outside * block, block, blocks - outside)
    last = stop - rest
    keys_of_rest = min(length, stop + right) - max(0, last - left)
    return block * (ends - begins) + rest * keys_of_rest


def _progression(first: int, step: int, count: int) -> int:
    """The sum of `count` numbers, each `step` more than the one before."""
    return count * first + step * (count * (count - 1) // 2)


def _inner(length: int, sides: Sides, block: int) -> tuple[int, int]:
    """First query and end of the blocks of a chain whose keys are all inside of it."""
    left, right = sides
    start = min(length, -(-left // block) * block)
    return start, max(start, (length - right) // block * block)


def fused_forward_tile_sizes(dtype_bytes: int) -> TileSizes:
    """The fastest for fused attention on CPU, which copies a tile's keys in half precision."""
    return TileSizes(32, 256, 1024) if dtype_bytes >= 4 else TileSizes(192, 192, 1536)


def fused_backward_tile_sizes(dtype_bytes: int, sides: Sides) -> TileSizes:
    """Wider than forward: the gradient of a key is summed over all tiles that contain it."""
    narrow_enough = max(32, sum(sides) // 64 * 32)
    return TileSizes(min(192, narrow_enough) if dtype_bytes >= 4 else 192, 256, 768)


def matmul_tile_sizes(sides: Sides, on_cpu: bool) -> TileSizes:
    """For matrix products: scores of one head fit into a cache of 1 to 2 MB, or occupy a GPU."""
    window = sum(sides)
    if on_cpu:
        return TileSizes(min(128, max(32, window // 64 * 32)), 128, 512)
    return TileSizes(min(256, max(64, window // 2)), 256, 4096)
