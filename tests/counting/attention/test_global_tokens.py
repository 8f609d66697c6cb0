"""Longformer's global tokens: their rows in the window are computed, and then written over."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attnprof import AttentionPattern
from attnprof.counting.attention.calls import AttentionCalls
from attnprof.counting.attention.tracing import attention_calls
from attnprof.counting.constant_propagation import MAX_ELEMENTS
from attnprof.counting.fake_tensors import fake_mode

N, HEADS = 32, 2


def _longformer(global_positions: list[int], padded: int = 0, seq_len: int = N) -> AttentionCalls:
    from transformers import LongformerConfig, LongformerModel

    config = LongformerConfig(
        hidden_size=8,
        num_attention_heads=HEADS,
        num_hidden_layers=1,
        intermediate_size=8,
        vocab_size=16,
        max_position_embeddings=seq_len + 10,
        attention_window=8,
    )
    with fake_mode(), torch.no_grad():
        model = LongformerModel(config, add_pooling_layer=False).eval()
        is_global = torch.zeros(1, seq_len, dtype=torch.long)
        is_global[0, global_positions] = 1
        attended = (torch.arange(seq_len) < seq_len - padded).long()[None]
        tokens = torch.full((1, seq_len), 5)
        return attention_calls(
            lambda: model(tokens, attention_mask=attended, global_attention_mask=is_global)
        )


@pytest.mark.parametrize("positions", [[], [0], [3, 4, 31]])
def test_longformer_needs_the_pairs_of_its_pattern(positions: list[int]) -> None:
    pattern = AttentionPattern.sliding(window=8, global_positions=positions, num_heads=HEADS)
    assert _longformer(positions).attended_pairs == pattern.pairs(N)


def test_padded_tokens_attend_to_nothing_and_are_not_attended_to() -> None:
    pattern = AttentionPattern.sliding(window=8, num_heads=HEADS)
    mask = pattern.mask(N)[:, :-5, :-5]
    assert _longformer([], padded=5).attended_pairs == mask.sum()


def test_sequences_whose_square_masks_are_too_large_to_compute_are_followed() -> None:
    """Longformer pads them to a multiple of its window, with a mask of n x n for that."""
    n = 4_139
    assert n * n > MAX_ELEMENTS
    pattern = AttentionPattern.sliding(window=8, num_heads=HEADS)
    assert _longformer([], seq_len=n).attended_pairs == pattern.pairs(n)


def test_rows_that_are_written_over_are_not_needed() -> None:
    def attend(scores: Tensor) -> Tensor:
        return scores.softmax(-1) @ torch.randn(HEADS, N, 4)

    def run() -> None:
        heads = torch.randn(HEADS, N, 4)
        output = attend(heads @ heads.mT).transpose(0, 1).reshape(N, HEADS * 4)
        output[torch.tensor([2, 5])] = torch.randn(2, HEADS * 4)

    with fake_mode(), torch.no_grad():
        (call,) = attention_calls(run).calls
    assert call.executed_pairs == HEADS * N * N
    assert call.attended_pairs == HEADS * (N - 2) * N
