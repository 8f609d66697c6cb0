"""The blocks that the Triton kernels compute, against the enumerated band."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from attnprof.core.pattern import AttentionPattern
from attnprof.nn.banded.triton_sizes import TritonTile, triton_tiles
from attnprof.nn.banded.triton_tiling import (
    blocks_in_reach,
    computed_pairs,
    triton_block_runs,
)


@st.composite
def bands(draw: st.DrawFn) -> tuple[int, int, tuple[int, int], TritonTile]:
    seq_len = draw(st.integers(1, 200))
    side = st.integers(0, 70)
    sides = (draw(side), draw(st.sampled_from((0, draw(side)))))
    dilation = draw(st.sampled_from((1, 1, 2, 3, 7, 40, 150, 300)))
    sizes = st.sampled_from((16, 32, 64))
    return seq_len, dilation, sides, TritonTile(draw(sizes), draw(sizes), 4, 1)


@given(bands())
@settings(max_examples=150)
def test_a_program_computes_only_blocks_that_it_needs(
    band: tuple[int, int, tuple[int, int], TritonTile],
) -> None:
    seq_len, dilation, sides, tile = band
    mask = AttentionPattern.sliding(sides, dilation, num_heads=1).mask(seq_len)[0]
    chains = [range(first, seq_len, dilation) for first in range(min(dilation, seq_len))]
    order = [position for chain in chains for position in chain]
    mask = mask[np.ix_(order, order)]
    for by_keys in (False, True):
        of_blocks, (before, after) = (mask.T, sides[::-1]) if by_keys else (mask, sides)
        size, other = (tile.keys, tile.queries) if by_keys else (tile.queries, tile.keys)
        total = 0
        for first in range(0, seq_len, size):
            start, blocks, first_whole, whole = blocks_in_reach(
                first, size, other, seq_len, min(dilation, seq_len), before, after
            )
            rows = of_blocks[first : first + size]
            reached = np.flatnonzero(rows.any(0))
            assert start == reached[0]
            assert blocks == -(-(reached[-1] + 1 - start) // other)
            parts = [rows[:, start + i * other : start + (i + 1) * other] for i in range(blocks)]
            are_whole = [i for i, part in enumerate(parts) if part.shape[1] == other and part.all()]
            assert list(range(first_whole, first_whole + whole)) == are_whole
            total += blocks
        pairs = computed_pairs(seq_len, dilation, tile, sides, by_keys=by_keys)
        assert pairs == total * tile.queries * tile.keys


@given(bands())
@settings(max_examples=60)
def test_its_blocks_contain_each_attended_pair_once(
    band: tuple[int, int, tuple[int, int], TritonTile],
) -> None:
    seq_len, dilation, sides, tile = band
    mask = AttentionPattern.sliding(sides, dilation, num_heads=1).mask(seq_len)[0]
    for by_keys in (False, True):
        runs = list(triton_block_runs(seq_len, dilation, tile, sides, by_keys=by_keys))
        pairs = computed_pairs(seq_len, dilation, tile, sides, by_keys=by_keys)
        assert sum(run.pairs for run in runs) == pairs
        times = np.zeros_like(mask, dtype=int)
        for run in runs:
            for queries, keys in run.blocks():
                inside = [[i for i in positions if i < seq_len] for positions in (queries, keys)]
                times[np.ix_(*inside)] += 1
        assert (times[mask] == 1).all()
        assert times.max() == 1


def test_work_is_linear_in_length_and_the_same_with_dilation() -> None:
    tiles = triton_tiles(64, 64, 2)

    def pairs(seq_len: int, dilation: int = 1) -> int:
        return computed_pairs(seq_len, dilation, tiles.forward, (256, 256))

    assert pairs(2_000_000) / pairs(1_000_000) < 2.001
    # a block of 128 queries reaches 640 keys: ten blocks of 64
    assert pairs(10_000_000) / (10_000_000 * 640) < 1.0001
    assert pairs(65_536, dilation=8) / pairs(65_536) < 1.001
    assert len(list(triton_block_runs(2**20, 1, tiles.forward, (256, 256)))) < 20
