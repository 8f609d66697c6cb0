"""Decoding with a window cache against softmax under the enumerated mask of the whole sequence."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnprof import AttentionPattern, LongformerSelfAttention
from attnprof.core.errors import UsageError
from attnprof.nn.window_cache import WindowCache, decode_attention

HEAD_DIM = 4


@st.composite
def patterns(draw: st.DrawFn) -> tuple[AttentionPattern, int]:
    """A causal pattern, and a number of heads of keys that divides its heads."""
    kv_heads, shared = draw(st.sampled_from([(1, 1), (1, 3), (2, 2), (4, 1)]))
    heads = kv_heads * shared
    if draw(st.booleans()):
        strides = draw(st.lists(st.integers(1, 3), min_size=heads, max_size=heads))
        sinks = draw(st.lists(st.integers(0, 9), max_size=3))
        window = draw(st.integers(1, 6))
        return AttentionPattern.sliding(window, strides, sinks, heads, causal=True), kv_heads
    return AttentionPattern.dense(heads, causal=True), kv_heads


def whole(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pattern: AttentionPattern
) -> torch.Tensor:
    """Softmax attention under the mask, `(batch, heads, seq_len, width)`."""
    key, value = (
        tensor.repeat_interleave(pattern.num_heads // tensor.shape[1], 1) for tensor in (key, value)
    )
    mask = torch.tensor(pattern.mask(query.shape[2]))
    scores = (query @ key.transpose(-1, -2)).masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ value


@settings(max_examples=40)
@given(
    pattern=patterns(),
    calls=st.lists(st.integers(1, 7), min_size=1, max_size=6),
    seed=st.integers(0, 99),
)
def test_calls_of_any_number_of_tokens_give_the_rows_of_the_whole_sequence(
    pattern: tuple[AttentionPattern, int], calls: list[int], seed: int
) -> None:
    layer_pattern, kv_heads = pattern
    n = max(sum(calls), layer_pattern.last_position + 1)
    torch.manual_seed(seed)
    query = torch.randn(2, layer_pattern.num_heads, n, HEAD_DIM, dtype=torch.float64)
    key, value = torch.randn(2, 2, kv_heads, n, HEAD_DIM, dtype=torch.float64)
    expected = whole(query, key, value, layer_pattern)
    layer = WindowCache([layer_pattern]).layers[0]
    start = 0
    for new in [*calls, *[1] * (n - sum(calls))]:
        tokens = slice(start, start + new)
        layer.update(key[:, :, tokens], value[:, :, tokens])
        output = decode_attention(query[:, :, tokens].transpose(1, 2), layer, scale=1.0)
        assert torch.allclose(output.transpose(1, 2), expected[:, :, tokens], atol=1e-12)
        start += new


@given(pattern=patterns(), seq_len=st.integers(10, 40))
def test_it_holds_no_more_than_the_reach_of_the_next_token_and_the_sinks(
    pattern: tuple[AttentionPattern, int], seq_len: int
) -> None:
    layer_pattern, kv_heads = pattern
    layer = WindowCache([layer_pattern]).layers[0]
    for _ in range(seq_len):
        layer.update(*(torch.zeros(1, kv_heads, 1, HEAD_DIM) for _ in range(2)))
    reach = seq_len
    if layer_pattern.left is not None:
        reach = min(seq_len, layer_pattern.left * max(layer_pattern.dilation) + 1)
    sinks = sum(position < seq_len - reach for position in layer_pattern.global_positions)
    assert layer.keys is not None
    assert layer.keys.shape[2] == len(layer.held) == reach + sinks
    assert layer.keys.untyped_storage().nbytes() == layer.keys.nbytes


def test_longformer_module_decodes_what_it_computes_of_the_whole_sequence() -> None:
    torch.manual_seed(1)
    config = SimpleNamespace(
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention_window=[6],
        attention_probs_dropout_prob=0.0,
    )
    module = LongformerSelfAttention(config, 0, dilation=(1, 1, 2, 3), causal=True).eval()
    hidden = torch.randn(2, 30, 32)
    pattern = AttentionPattern.sliding(6, (1, 1, 2, 3), (0, 4), num_heads=4, causal=True)
    with torch.no_grad():
        (expected,) = module(hidden, global_positions=(0, 4))
        cache = WindowCache([pattern])
        outputs = [module(part, cache=cache)[0] for part in hidden.split((5, 1, 1, 16, 7), dim=1)]
    assert torch.allclose(torch.cat(outputs, 1), expected, atol=1e-5)


def test_a_pattern_with_later_keys_has_no_cache() -> None:
    with pytest.raises(UsageError, match="causal"):
        WindowCache([AttentionPattern.sliding(8, num_heads=2)])
