"""Weights that are rearranged, padded and cut before they multiply values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from attnprof.counting.attention import pair_counts, tracing
from attnprof.counting.attention.building import Builder
from attnprof.counting.attention.moves import before_moves
from attnprof.counting.attention.pair_counts import count_pairs
from attnprof.counting.attention.tracing import attention_calls
from attnprof.counting.fake_tensors import fake_mode

HEADS, HEAD_DIM = 2, 4


def _chunked(weights: Tensor) -> Tensor:
    """Heads and chunks of two queries in one axis."""
    return weights[..., : weights.shape[-2] // 2 * 2, :].unflatten(-2, (-1, 2)).flatten(0, 2)


def _skewed(weights: Tensor) -> Tensor:
    """Rows that begin one element later each, as Longformer's: only padding is cut off."""
    rows, columns = weights.shape[-2:]
    padded = functional.pad(weights, (0, rows + 1)).flatten(-2)[..., :-rows]
    return padded.unflatten(-1, (rows, rows + columns))[..., :-1]


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "chunked": _chunked,
    "skewed": _skewed,
    "transposed": lambda weights: weights.mT,
    "heads last": lambda weights: weights.movedim(0, -2).contiguous(),
    "heads merged": lambda weights: weights.flatten(0, -3) if weights.dim() > 2 else weights,
    "flipped": lambda weights: weights.flip(-1),
    "first column lost": lambda weights: weights[..., 1:],
    "last column cut by padding": lambda weights: functional.pad(weights, (2, -1)),
    "every other row": lambda weights: weights[..., ::2, :],
    "padded and cut again": lambda weights: functional.pad(weights, (1, 1, 2, 0))[..., 2:, 1:-1],
    "in float64": lambda weights: weights.double(),
}


@pytest.fixture(autouse=True, scope="module")
def _small_parts() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "_FEW_ELEMENTS", 0)
        patch.setattr(pair_counts, "_PART_ELEMENTS", 30)
        yield


@settings(max_examples=40)
@given(
    queries=st.integers(2, 7),
    keys=st.integers(2, 7),
    reach=st.integers(0, 4),
    names=st.lists(st.sampled_from(sorted(MOVES)), max_size=4),
)
def test_pairs_of_moved_weights_are_those_that_are_left(
    queries: int, keys: int, reach: int, names: list[str]
) -> None:
    def mask() -> Tensor:
        return (torch.arange(queries)[:, None] - torch.arange(keys)).abs() <= reach

    def moved(weights: Tensor) -> Tensor:
        for name in names:
            weights = MOVES[name](weights)
        return weights

    def run() -> None:
        scores = torch.randn(HEADS, queries, HEAD_DIM) @ torch.randn(HEADS, HEAD_DIM, keys)
        weights = moved(scores.masked_fill(~mask(), -torch.inf).softmax(-1))
        weights @ torch.randn(*weights.shape[:-2], weights.shape[-1], HEAD_DIM)

    with fake_mode(), torch.no_grad():
        (call,) = attention_calls(run).calls
    # A query without any key would have NaN for weights; ones in place of weights are exact.
    left = moved(mask().float().expand(HEADS, queries, keys))
    assert call.attended_pairs == int(left.sum())


def test_weights_are_counted_before_they_are_skewed() -> None:
    """Heads that are merged with chunks differ only by that: they are not counted one by one."""
    build, heads, rows, columns = Builder(), 6, 8, 17
    mask = build.triangle(build.fill((rows * 4, columns), torch.bool, True), 3, True)
    scores = build.scores((heads, rows * 4, columns), torch.float32)
    weights = build.softmax(build.masked_where(mask, scores, -torch.inf))
    chunks = build.reshape(weights, (heads * 4, rows, columns))
    padded = build.pad(chunks, (0, rows + 1), 0, torch.empty(heads * 4, rows, columns + rows + 1))
    run = build.reshape(padded, (heads * 4, rows * (columns + rows + 1)))
    cut = build.select(run, 1, range(rows * (columns + rows)))
    skewed = build.reshape(cut, (heads * 4, rows, columns + rows))
    assert before_moves(skewed, count_pairs) is weights
    lossy = build.select(skewed, 2, range(columns))
    assert before_moves(lossy, count_pairs) is lossy
