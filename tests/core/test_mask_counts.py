"""What a mask lets through, counted block by block, against the enumerated mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_block_mask

from attnprof.core import mask_counts as counting
from attnprof.core.errors import MeasurementError
from attnprof.core.mask_cells import heads_alike
from attnprof.core.mask_counts import BLOCK, mask_blocks, mask_counts
from attnprof.core.mask_pattern import MaskPattern
from attnprof.core.pattern_cells import attended_pairs_in_cells
from attnprof.core.receptive_field import receptive_fields
from attnprof.nn.block_mask import block_rows, block_scores


@dataclass(frozen=True, eq=False)
class GivenMask:
    """A mask of one length, `(heads or 1, seq_len, seq_len)`."""

    mask: np.ndarray
    text: str = "given"
    is_known: bool = True

    def attended(
        self, seq_len: int, num_heads: int, queries: np.ndarray, keys: np.ndarray
    ) -> np.ndarray:
        return self.mask[:, queries][:, :, keys]

    def mask_mod(self, seq_len: int, num_heads: int, as_table: Callable[[Any], Any]) -> Any:
        table, is_by_head = as_table(self.mask), len(self.mask) > 1
        return lambda batch, head, query, key: table[head * is_by_head, query, key]


def pattern_of(mask: np.ndarray, heads: int) -> MaskPattern:
    return MaskPattern(num_heads=heads, function=GivenMask(mask), depends_on_head=len(mask) > 1)


@st.composite
def given_masks(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """A random mask, sparse or almost full, with empty blocks; and the number of heads."""
    seq_len, heads = draw(st.integers(1, 500)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (draw(st.sampled_from((1, heads))), seq_len, seq_len)
    mask = rng.random(shape) < draw(st.sampled_from((0.0002, 0.01, 0.5, 1.0)))
    if draw(st.booleans()):
        mask = np.tril(mask)
    return mask, heads


@given(given_masks(), st.sampled_from((2**14, 2**21)), st.data())
@settings(max_examples=40, deadline=None)
def test_counts_are_those_of_the_enumerated_mask(
    drawn: tuple[np.ndarray, int], tile: int, data: st.DataObject
) -> None:
    mask, heads = drawn
    seq_len = mask.shape[1]
    all_heads = np.broadcast_to(mask, (heads, seq_len, seq_len))
    pattern = pattern_of(mask, heads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_TILE_PAIRS", tile)
        counts = mask_counts(pattern.function, heads, seq_len)
        queries = data.draw(st.integers(1, seq_len))
        assert pattern.pairs(seq_len, queries) == all_heads[:, -queries:].sum()
    assert counts.pairs == pattern.pairs(seq_len) == all_heads.sum()
    assert counts.is_causal == (not np.triu(all_heads, 1).any())
    assert counts.has_empty_rows == (not all_heads.any(2).all())
    assert (pattern.mask(seq_len) == all_heads).all()


@given(given_masks())
@settings(max_examples=25, deadline=None)
def test_blocks_are_those_that_flex_attention_finds(drawn: tuple[np.ndarray, int]) -> None:
    mask, heads = drawn
    seq_len = mask.shape[1]
    pairs = torch.tensor(np.broadcast_to(mask, (heads, seq_len, seq_len)).copy())
    pattern = pattern_of(mask, heads)
    function = pattern.function.mask_mod(seq_len, heads, torch.tensor)
    theirs: Any = create_block_mask(function, None, heads, seq_len, seq_len, device="cpu")
    sizes = torch.full((-(-seq_len // BLOCK),), BLOCK)
    sizes[-1] = seq_len - BLOCK * (len(sizes) - 1)
    touched = theirs.to_dense()[0] > 0
    assert block_scores(pattern, seq_len) == int((touched * sizes[:, None] * sizes).sum())
    for head in range(heads):
        for index, row in enumerate(block_rows(pattern, head, seq_len)):
            assert sorted(row.partial + row.full) == touched[head, index].nonzero()[:, 0].tolist()
            full = theirs.full_kv_indices[0, head, index]
            known = full[: theirs.full_kv_num_blocks[0, head, index]].tolist()
            # torch calls a smaller block at the end partial, even if all of its pairs are attended.
            assert set(known) <= set(row.full)
            for column in row.full:
                block = pairs[head, index * BLOCK :][:BLOCK, column * BLOCK :][:, :BLOCK]
                assert bool(block.all())


@given(given_masks(), st.integers(1, 60))
@settings(max_examples=25, deadline=None)
def test_pictures_have_the_pairs_of_each_cell_and_the_heads_that_differ(
    drawn: tuple[np.ndarray, int], cell: int
) -> None:
    mask, heads = drawn
    seq_len = mask.shape[1]
    pattern = pattern_of(mask, heads)
    edges = np.append(np.arange(0, seq_len, cell), seq_len)
    for head in range(heads):
        of_head = mask[head if len(mask) > 1 else 0].astype(int)
        rows = np.add.reduceat(of_head, edges[:-1], axis=0)
        expected = np.add.reduceat(rows, edges[:-1], axis=1)
        assert (attended_pairs_in_cells(pattern, head, edges) == expected).all()
    for group in heads_alike(pattern, seq_len):
        for head in group:
            assert (pattern.mask(seq_len)[head] == pattern.mask(seq_len)[group[0]]).all()


def test_tokens_in_reach_are_those_of_repeated_masks() -> None:
    rng = np.random.default_rng(1)
    mask = rng.random((2, 60, 60)) < 0.03
    reached, sizes = np.arange(60) == 30, []
    for _ in range(4):
        reached = mask.any(0)[reached].any(0)
        sizes.append(int(reached.sum()))
    assert receptive_fields([pattern_of(mask, 2)] * 4, 60, 30) == sizes


def test_too_many_pairs_are_an_error_before_they_are_evaluated() -> None:
    pattern = pattern_of(np.ones((1, 2, 2), dtype=np.bool_), 1)
    with pytest.raises(
        MeasurementError, match="must be at most 262,144 tokens: given is evaluated at all"
    ):
        pattern.pairs(2**40)
    assert mask_blocks.cache_info().currsize <= 16
