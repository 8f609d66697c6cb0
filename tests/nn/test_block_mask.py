"""Scores of block masks in closed form, against the blocks of every row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnprof import AttentionPattern
from attnprof.nn.block_mask import BLOCK, block_rows, block_scores

DILATIONS = (1, 2, 7, BLOCK - 1, BLOCK, BLOCK + 1, 200, 2 * BLOCK, 300, 1000)


def scores_of_rows(layer: AttentionPattern, seq_len: int) -> int:
    def tokens(block: int) -> int:
        return min(BLOCK, seq_len - block * BLOCK)

    rows = enumerate(block_rows(layer, 0, seq_len))
    return sum(tokens(row) * tokens(key) for row, keys in rows for key in keys.partial + keys.full)


@given(
    st.integers(1, 3000),
    st.tuples(st.integers(0, 1500), st.integers(0, 1500)),
    st.sampled_from(DILATIONS),
    st.sets(st.integers(0, 2999), max_size=4),
    st.booleans(),
)
def test_scores_are_those_of_the_blocks_of_all_rows(
    seq_len: int, sides: tuple[int, int], dilation: int, positions: set[int], causal: bool
) -> None:
    inside = sorted(position for position in positions if position < seq_len)
    window = (sides[0], 0 if causal else sides[1])
    layer = AttentionPattern.sliding(window, dilation, inside, num_heads=1, causal=causal)
    assert block_scores(layer, seq_len) == scores_of_rows(layer, seq_len)


@given(st.integers(1, 3000), st.booleans())
def test_scores_of_dense_attention_are_those_of_all_rows(seq_len: int, causal: bool) -> None:
    layer = AttentionPattern.dense(1, causal=causal)
    assert block_scores(layer, seq_len) == scores_of_rows(layer, seq_len)


@pytest.mark.parametrize(("causal", "blocks"), [(False, 5), (True, 3)])
def test_ten_billion_tokens_are_counted_without_walking_them(causal: bool, blocks: int) -> None:
    """Rows away from both ends have equally many blocks, so another row adds a constant."""
    layer = AttentionPattern.sliding((256, 0 if causal else 256), num_heads=1, causal=causal)
    shorter, longer = (block_scores(layer, rows * BLOCK) for rows in (10**8, 10**8 + 1))
    assert longer - shorter == blocks * BLOCK**2


def test_dense_causal_attention_computes_the_triangle_of_blocks_at_ten_billion_tokens() -> None:
    rows = 10**8
    layer = AttentionPattern.dense(2, causal=True)
    assert block_scores(layer, rows * BLOCK) == 2 * BLOCK**2 * rows * (rows + 1) // 2
