"""Pairs of FlexAttention, compared with the mask function evaluated for every pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from attnprof.counting.attention.calls import AttentionCall
from attnprof.counting.attention.tracing import attention_calls
from attnprof.counting.fake_tensors import fake_mode

BATCH, HEADS, N = 2, 4, 300
DOCUMENTS = torch.arange(N) // 47
TABLE = (torch.arange(N * N) * 7919 % 13 < 5).view(N, N)

MaskFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def _causal(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
    return query >= key


def _documents(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
    return (query >= key) & (DOCUMENTS[query] == DOCUMENTS[key])


def _of_head(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
    return (query - key).abs() < 40 * (head + 1) + batch


def _table(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
    return TABLE[query, key]


def _call(mask: MaskFunction, **options: Any) -> AttentionCall:
    sizes = (BATCH, HEADS) if mask is _of_head else (None, None)
    with fake_mode(), torch.no_grad():
        block_mask = create_block_mask(mask, *sizes, N, N, device="cpu")
        heads = torch.randn(BATCH, HEADS, N, 8)
        calls = attention_calls(
            lambda: flex_attention(heads, heads, heads, block_mask=block_mask, **options)
        )
    (call,) = calls.calls
    assert call.implementation == "flex_attention"
    return call


def _attended(mask: MaskFunction) -> int:
    batch = torch.arange(BATCH)[:, None, None, None]
    head = torch.arange(HEADS)[:, None, None]
    attended = mask(batch, head, torch.arange(N)[:, None], torch.arange(N))
    return int(attended.expand(BATCH, HEADS, N, N).sum())


@pytest.mark.parametrize("mask", [_causal, _documents, _of_head, _table])
def test_pairs_are_those_of_the_mask_function(mask: MaskFunction) -> None:
    call = _call(mask)
    assert call.attended_pairs == _attended(mask)
    assert call.executed_pairs == call.executed_macs // 16 >= _attended(mask)


def test_a_score_function_may_hide_pairs() -> None:
    def near(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return torch.where(query - key < 10, score / 2, -torch.inf)

    assert _call(_causal, score_mod=near).attended_pairs == BATCH * HEADS * (10 * N - 45)


def test_a_score_function_may_add_a_bias() -> None:
    def alibi(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score - (query - key) * 2.0 ** -(head + 1)

    assert _call(_causal, score_mod=alibi).attended_pairs == _attended(_causal)


def test_a_score_function_that_depends_on_scores_is_not_guessed() -> None:
    def high(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return torch.where(score > 0, score, -torch.inf)

    assert _call(_causal, score_mod=high).attended_pairs is None
