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
    matmul_tile_sizes,
    runs,
    scores,
)


@st.composite
def tile_sizes(draw: st.DrawFn) -> TileSizes:
    return TileSizes(draw(st.integers(1, 40)), draw(st.integers(1, 50)), draw(st.integers(1, 300)))


@given(st.integers(1, 200), st.integers(1, 110), st.integers(1, 230), tile_sizes())
def test_every_pair_of_the_band_is_in_exactly_one_tile(
    seq_len: int, half_window: int, dilation: int, sizes: TileSizes
) -> None:
    window = 2 * half_window
    times_attended = np.zeros((seq_len, seq_len), dtype=np.int64)
    computed = 0
    for part in chains(seq_len, dilation, sizes.tokens_per_call):
        token = np.arange(part.count * part.length)
        position = part.first + token // part.length + dilation * (token % part.length)
        assert position.max() < seq_len
        for run in runs(part.length, part.count, window, sizes):
            pieces = list(run.parts(sizes.tokens_per_call))
            assert sum(piece.scores for piece in pieces) == run.scores
            computed += run.scores
            for piece in pieces:
                for tile in range(piece.tiles):
                    start = tile * piece.spacing
                    i, j = np.arange(piece.queries)[:, None], np.arange(piece.keys)[None, :]
                    offset = piece.band_offset
                    shift = np.zeros_like(i + j) if offset is None else j + offset - i
                    attended = (shift >= 0) & (shift <= window)
                    query = position[piece.first_query + start + i]
                    key = position[piece.first_key + start + j]
                    np.add.at(times_attended, (query + 0 * key, key + 0 * query), attended)
    expected = AttentionPattern.sliding(window, dilation, num_heads=1).mask(seq_len)[0]
    assert np.array_equal(times_attended, expected.astype(np.int64))
    assert scores(seq_len, window, dilation, sizes) == computed


@pytest.mark.parametrize(
    "sizes",
    [
        fused_forward_tile_sizes(4),
        fused_forward_tile_sizes(2),
        fused_backward_tile_sizes(4, 512),
        fused_backward_tile_sizes(2, 512),
        matmul_tile_sizes(512, on_cpu=True),
        matmul_tile_sizes(512, on_cpu=False),
    ],
    ids=str,
)
@pytest.mark.parametrize("dilation", [1, 2, 8])
def test_scores_grow_linearly_and_little_more_than_the_band(
    sizes: TileSizes, dilation: int
) -> None:
    lengths = [dilation * 1536 * k for k in (16, 32, 64)]
    computed = [scores(n, 512, dilation, sizes) for n in lengths]
    steps = [(computed[k + 1] - computed[k]) / (lengths[k + 1] - lengths[k]) for k in range(2)]
    assert steps[0] == steps[1] == 512 + sizes.block
    useful = [AttentionPattern.sliding(512, dilation, num_heads=1).pairs(n) for n in lengths]
    assert computed[2] / useful[2] < (512 + sizes.block) / 513 + 0.02
