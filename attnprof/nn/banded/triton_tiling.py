"""Which blocks of queries and keys the Triton kernels compute, in plain Python.

Tokens are indexed chain after chain, as `attnprof.nn.banded.tiling` has chains: the first chain has
the positions 0, dilation, 2 * dilation and so on. By these indices a dilated band is a band without
dilation that ends at the ends of its chains. A program computes one block of consecutive indices
against the blocks in its reach, and no others: `blocks_in_reach` is compiled into the kernels, and
counts here what they execute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from attnprof.core.blocks import BlockRun
from attnprof.nn.banded.tiling import Sides
from attnprof.nn.banded.triton_sizes import TritonTile, global_block


def blocks_in_reach(
    first: int, size: int, other: int, seq_len: int, dilation: int, before: int, after: int
) -> tuple[int, int, int, int]:
    """The blocks of keys that a block of queries computes, or the blocks of queries of keys.

    Triton compiles this function, so it is arithmetic alone; all quotients are of numbers above 0.

    Args:
        first: index of the first token of the block.
        size: tokens of the block.
        other: tokens of each block in its reach.
        seq_len: tokens of the sequence.
        dilation: stride of a chain, at most `seq_len`.
        before: tokens in reach in front of a token: l for queries, r for keys.
        after: tokens in reach behind it.

    Returns:
        Index of the first token in reach; the blocks from there on; and the first block and the
        number of those in which all pairs are in the band.
    """
    last = min(first + size, seq_len) - 1
    longest = (seq_len + dilation - 1) // dilation
    long_chains = seq_len - dilation * (longest - 1)
    shorter = max(longest - 1, 1)
    in_long = long_chains * longest
    # Chains of the greatest length come first; the others have one token less.
    chain = min(first, in_long) // longest * longest
    chain = chain + max(first - in_long, 0) // shorter * shorter
    chain_stop = min(first // longest + 1, long_chains) * longest
    chain_stop = chain_stop + (max(first + 1 - in_long, 0) + shorter - 1) // shorter * shorter
    last_stop = min(last // longest + 1, long_chains) * longest
    last_stop = last_stop + (max(last + 1 - in_long, 0) + shorter - 1) // shorter * shorter
    start = max(first - before, chain)
    stop = min(last + 1 + after, last_stop)
    blocks = (stop - start + other - 1) // other
    first_whole = (max(last - before, start) - start + other - 1) // other
    whole = max((min(first + after + 1, stop) - start) // other - first_whole, 0)
    is_one_chain = min(max(chain_stop - last, 0), 1)
    return start, blocks, first_whole, whole * is_one_chain


@dataclass(frozen=True, slots=True)
class ReachRun:
    """Blocks of equal size, each next to the last, with as many blocks in reach.

    Attributes:
        first: index of the first token of the first block.
        count: the number of blocks.
        start: index of the first token in its reach; it moves along with the block.
        blocks: in reach of each.
    """

    first: int
    count: int
    start: int
    blocks: int


def reach_runs(
    seq_len: int, dilation: int, size: int, other: int, sides: Sides
) -> Iterator[ReachRun]:
    """All blocks of one head of a sequence, those that are alike together.

    Args:
        seq_len: tokens.
        dilation: stride of a chain.
        size: tokens of a block.
        other: tokens of each block in its reach.
        sides: tokens in reach before and after a token.
    """
    dilation = min(dilation, max(seq_len, 1))
    before, after = sides
    first = 0
    while first < seq_len:
        start, blocks, *_ = blocks_in_reach(first, size, other, seq_len, dilation, before, after)
        count = 1
        whole = size + before + after
        if start == first - before and blocks == -(-whole // other):
            # Until the blocks in reach pass the end of the chain, each is like the one before.
            stop = _chain_stop(start, seq_len, dilation)
            count = max(1, (stop - start - max(blocks * other, whole)) // size + 1)
        yield ReachRun(first, count, start, blocks)
        first += count * size


def _chain_stop(index: int, seq_len: int, dilation: int) -> int:
    """Index behind the last token of the chain of a token."""
    longest = -(-seq_len // dilation)
    in_long = (seq_len - dilation * (longest - 1)) * longest
    if index < in_long:
        return (index // longest + 1) * longest
    return in_long + ((index - in_long) // (longest - 1) + 1) * (longest - 1)


def computed_pairs(
    seq_len: int, dilation: int, tile: TritonTile, sides: Sides, *, by_keys: bool = False
) -> int:
    """Pairs of queries and keys in all blocks of the band of one head, masked ones included.

    Args:
        seq_len: tokens.
        dilation: stride of a chain.
        tile: sizes of the kernel.
        sides: keys before and after a query.
        by_keys: whether programs compute blocks of keys, over the blocks of queries in reach.
    """
    size, other, reach = _oriented(tile, sides, by_keys)
    runs = reach_runs(seq_len, dilation, size, other, reach)
    return size * other * sum(run.count * run.blocks for run in runs)


def _oriented(tile: TritonTile, sides: Sides, by_keys: bool) -> tuple[int, int, Sides]:
    """Sizes of a program's block and of those in its reach, and the reach."""
    if by_keys:
        return tile.keys, tile.queries, (sides[1], sides[0])
    return tile.queries, tile.keys, sides


def triton_block_runs(
    seq_len: int, dilation: int, tile: TritonTile, sides: Sides, *, by_keys: bool = False
) -> Iterator[BlockRun]:
    """The blocks of `computed_pairs` by position; one over several chains is several of these."""
    size, other, reach = _oriented(tile, sides, by_keys)
    stride = min(dilation, max(seq_len, 1))
    for run in reach_runs(seq_len, dilation, size, other, reach):
        step = size * stride
        of_reach = _positions(run.start, run.blocks * other, seq_len, stride)
        for block in _positions(run.first, size, seq_len, stride):
            for reached in of_reach:
                queries, keys = (reached, block) if by_keys else (block, reached)
                yield BlockRun(queries, keys, run.count, step, step)


def _positions(index: int, tokens: int, seq_len: int, dilation: int) -> list[range]:
    """Positions of consecutive indices, as few ranges; padding is behind the end."""
    inside = max(0, min(tokens, seq_len - index))
    ranges: list[range] = []
    pieces = _pieces(index, inside, seq_len, dilation)
    for (length, is_start), alike in groupby(pieces, lambda one: (len(one), one.start < dilation)):
        of_chains = list(alike)
        if is_start and len(of_chains) > length:
            # Many short chains from their beginnings: the first tokens, then the second ones.
            first, stop = of_chains[0].start, of_chains[-1].start + 1
            steps = range(0, dilation * length, dilation)
            ranges += [range(first + step, stop + step) for step in steps]
        else:
            ranges += of_chains
    if tokens > inside:
        first = max(index, seq_len)
        ranges.append(range(first, first + tokens - inside))
    return ranges


def _pieces(index: int, tokens: int, seq_len: int, dilation: int) -> Iterator[range]:
    """Positions of consecutive indices, one range for each chain."""
    longest = -(-seq_len // dilation)
    long_chains = seq_len - dilation * (longest - 1)
    in_long = long_chains * longest
    stop = index + tokens
    while index < stop:
        end = min(stop, _chain_stop(index, seq_len, dilation))
        chain, token = divmod(index, longest)
        if index >= in_long:
            chain, token = divmod(index - in_long, longest - 1)
            chain += long_chains
        first = chain + dilation * token
        yield range(first, first + dilation * (end - index), dilation)
        index = end


def computed_global_pairs(seq_len: int, num_globals: int, tile: TritonTile) -> int:
    """Pairs of all queries with the global keys of one head, padding included."""
    return _rounded(seq_len, tile.queries) * computed_global_keys(num_globals, tile)


def computed_global_keys(num_globals: int, tile: TritonTile) -> int:
    """Global keys in all blocks of them, padding included."""
    return _rounded(num_globals, global_block(num_globals, tile))


def global_block_runs(
    seq_len: int, positions: tuple[int, ...], tile: TritonTile
) -> Iterator[BlockRun]:
    """The blocks of `computed_global_pairs`, by position."""
    queries = range(_rounded(seq_len, tile.queries))
    for position in positions:
        yield BlockRun(queries, range(position, position + 1))
    padding = computed_global_keys(len(positions), tile) - len(positions)
    if padding:
        yield BlockRun(queries, range(seq_len, seq_len + padding))


def _rounded(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
