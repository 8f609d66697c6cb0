"""Tiles against the enumerated mask: every pair of the band is in exactly one of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnprof import AttentionPattern
from attnprof.nn.banded.tiling import (
    TileSizes,
    chains,
    fused_backward_tile_sizes,
    fused_forward_tile_sizes,
    head_groups,
    largest_runs,
    matmul_tile_sizes,
    runs,
    scores,
)


@st.composite
def tile_sizes(draw: st.DrawFn) -> TileSizes:
    return TileSizes(draw(st.integers(1, 40)), draw(st.integers(1, 50)), draw(st.integers(1, 300)))


side = st.sampled_from([0, 1, 3]) | st.integers(0, 110)


@given(st.integers(1, 200), st.tuples(side, side), st.integers(1, 230), tile_sizes())
def test_every_pair_of_the_band_is_in_exactly_one_tile(
    seq_len: int, sides: tuple[int, int], dilation: int, sizes: TileSizes
) -> None:
    times_attended = np.zeros((seq_len, seq_len), dtype=np.int64)
    computed = 0
    for part in chains(seq_len, dilation, sizes.tokens_per_call):
        token = np.arange(part.count * part.length)
        position = part.first + token // part.length + dilation * (token % part.length)
        assert position.max() < seq_len
        for run in runs(part.length, part.count, sides, sizes):
            pieces = list(run.parts(sizes.tokens_per_call))
            assert sum(piece.scores for piece in pieces) == run.scores
            computed += run.scores
            for piece in pieces:
                for tile in range(piece.tiles):
                    start = tile * piece.spacing
                    i, j = np.arange(piece.queries)[:, None], np.arange(piece.keys)[None, :]
                    offset = piece.band_offset
                    shift = np.zeros_like(i + j) if offset is None else j + offset - i
                    attended = (shift >= 0) & (shift <= sum(sides))
                    query = position[piece.first_query + start + i]
                    key = position[piece.first_key + start + j]
                    np.add.at(times_attended, (query + 0 * key, key + 0 * query), attended)
    expected = AttentionPattern.sliding(sides, dilation, num_heads=1).mask(seq_len)[0]
    assert np.array_equal(times_attended, expected.astype(np.int64))
    assert scores(seq_len, sides, dilation, sizes) == computed


@pytest.mark.parametrize(
    "sizes",
    [
        fused_forward_tile_sizes(4),
        fused_forward_tile_sizes(2),
        fused_backward_tile_sizes(4, (256, 256)),
        fused_backward_tile_sizes(2, (256, 256)),
        matmul_tile_sizes((256, 256), on_cpu=True),
        matmul_tile_sizes((256, 256), on_cpu=False),
    ],
    ids=str,
)
@pytest.mark.parametrize("dilation", [1, 2, 8])
@pytest.mark.parametrize("sides", [(256, 256), (512, 0)], ids=str)
def test_scores_grow_linearly_and_little_more_than_the_band(
    sizes: TileSizes, dilation: int, sides: tuple[int, int]
) -> None:
    lengths = [dilation * 1536 * k for k in (16, 32, 64)]
    computed = [scores(n, sides, dilation, sizes) for n in lengths]
    steps = [(computed[k + 1] - computed[k]) / (lengths[k + 1] - lengths[k]) for k in range(2)]
    assert steps[0] == steps[1] == 512 + sizes.block
    useful = [AttentionPattern.sliding(sides, dilation, num_heads=1).pairs(n) for n in lengths]
    assert computed[2] / useful[2] < (512 + sizes.block) / 513 + 0.02


@given(st.integers(1, 400), st.tuples(side, side), st.integers(1, 230), tile_sizes())
def test_scores_and_the_largest_tiles_are_those_of_all_runs(
    length: int, sides: tuple[int, int], dilation: int, sizes: TileSizes
) -> None:
    groups = list(chains(length, dilation, sizes.tokens_per_call))
    every = [runs(group.length, group.count, sides, sizes) for group in groups]
    assert scores(length, sides, dilation, sizes) == sum(run.scores for one in every for run in one)
    for group, of_group in zip(groups, every, strict=True):
        largest = largest_runs(group.length, group.count, sides, sizes)
        assert set(largest) <= set(of_group)
        for run in of_group:
            assert any(
                run.queries <= one.queries
                and run.keys <= one.keys
                and run.tiles <= one.tiles
                and (run.band_offset is None or one.band_offset is not None)
                for one in largest
            )


@given(st.integers(1, 6), st.integers(1, 4), st.data())
def test_each_query_head_is_in_one_group_with_its_own_keys(
    kv_heads: int, sharing: int, data: st.DataObject
) -> None:
    heads = kv_heads * sharing
    strides = st.lists(st.integers(1, 3), min_size=heads, max_size=heads)
    dilation = data.draw(strides)
    found: list[int] = []
    for group in head_groups(dilation, kv_heads):
        each = len(group.queries) // len(group.keys)
        assert [query // sharing for query in group.queries] == [
            key for key in group.keys for _ in range(each)
        ]
        assert {dilation[query] for query in group.queries} == {group.dilation}
        found += group.queries
    assert found == list(range(heads))
    if len(set(dilation)) == 1:
        assert len(list(head_groups(dilation, kv_heads))) == 1
