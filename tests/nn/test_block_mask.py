"""Scores of block masks in closed form, against the blocks of every row."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from attnprof import AttentionPattern
from attnprof.nn.block_mask import BLOCK, block_rows, block_scores

DILATIONS = (1, 2, 7, BLOCK - 1, BLOCK, BLOCK + 1, 200, 2 * BLOCK, 300, 1000)


def scores_of_rows(layer: AttentionPattern, seq_len: int) -> int:
    def tokens(block: int) -> int:
        return min(BLOCK, seq_len - block * BLOCK)

    rows = enumerate(block_rows(layer, layer.dilation[0], seq_len))
    return sum(tokens(row) * tokens(key) for row, keys in rows for key in keys.partial + keys.full)


@given(
    st.integers(1, 3000),
    st.integers(1, 1500),
    st.sampled_from(DILATIONS),
    st.sets(st.integers(0, 2999), max_size=4),
)
def test_scores_are_those_of_the_blocks_of_all_rows(
    seq_len: int, half_window: int, dilation: int, positions: set[int]
) -> None:
    inside = sorted(position for position in positions if position < seq_len)
    layer = AttentionPattern.sliding(2 * half_window, dilation, inside, num_heads=1)
    assert block_scores(layer, seq_len) == scores_of_rows(layer, seq_len)


def test_ten_billion_tokens_are_counted_without_walking_them() -> None:
    """Rows away from both ends have equally many blocks, so another row adds a constant."""
    layer = AttentionPattern.sliding(512, 1, num_heads=1)
    shorter, longer = (block_scores(layer, rows * BLOCK) for rows in (10**8, 10**8 + 1))
    assert longer - shorter == 5 * BLOCK**2
