"""Cells of a pattern and receptive fields, against the enumerated mask."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attnprof import AttentionPattern
from attnprof.core.pattern_cells import attended_pairs_in_cells
from attnprof.core.receptive_field import receptive_fields


@st.composite
def patterns(draw: st.DrawFn, seq_len: int, heads: int) -> AttentionPattern:
    if draw(st.integers(0, 9)) == 0:
        return AttentionPattern.dense(heads)
    return AttentionPattern.sliding(
        2 * draw(st.integers(1, 70)),
        draw(st.lists(st.integers(1, 40), min_size=heads, max_size=heads)),
        draw(st.lists(st.integers(0, seq_len - 1), max_size=6)),
        heads,
    )


@given(st.data(), st.integers(1, 120))
def test_pairs_in_cells_are_those_of_the_mask(data: st.DataObject, seq_len: int) -> None:
    layer = data.draw(patterns(seq_len, heads=2))
    inner = data.draw(st.sets(st.integers(1, max(1, seq_len - 1)), max_size=9))
    edges = np.array(sorted({0, seq_len} | {edge for edge in inner if edge < seq_len}))
    for head in range(2):
        mask = layer.mask(seq_len)[head].astype(np.int64)
        in_cells = np.add.reduceat(np.add.reduceat(mask, edges[:-1], axis=0), edges[:-1], axis=1)
        assert np.array_equal(attended_pairs_in_cells(layer, head, edges), in_cells)


def test_cells_of_a_million_tokens_add_up_to_the_pairs() -> None:
    layer = AttentionPattern.sliding(4096, 5, range(0, 2**20, 999), 1)
    edges = np.arange(0, 2**20 + 1, 2**14)
    assert attended_pairs_in_cells(layer, 0, edges).sum() == layer.pairs(2**20)


@given(st.data(), st.integers(1, 60))
def test_receptive_fields_are_products_of_the_masks(data: st.DataObject, seq_len: int) -> None:
    drawn = data.draw(st.lists(patterns(seq_len, heads=2), min_size=1, max_size=5))
    query = data.draw(st.integers(0, seq_len - 1))
    reaches = np.eye(seq_len, dtype=np.int64)
    expected: list[int] = []
    for layer in drawn:
        attends = layer.mask(seq_len).any(axis=0).astype(np.int64)
        reaches = (reaches @ attends > 0).astype(np.int64)
        expected.append(int(reaches[query].sum()))
    assert receptive_fields(drawn, seq_len, query) == expected


def test_a_global_token_connects_all_tokens_in_two_layers() -> None:
    layer = AttentionPattern.sliding(8, 1, (0,), 1)
    assert receptive_fields([layer] * 2, 1000, 500) == [10, 1000]
