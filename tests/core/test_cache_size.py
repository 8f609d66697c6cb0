"""The cache of decoding against the enumerated mask: what a query attends to has to be kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from attnprof import AttentionPattern, AttentionStack, Workload
from attnprof.core.cache_size import cache_bytes, read_cache_bytes

BYTES_PER_TOKEN = 2 * (3 + 5) * 4
"""Batch, width of keys and of values, float32."""

LATER = 40
"""Tokens decoded after the call; more than any window here."""


@st.composite
def decoded(draw: st.DrawFn) -> Workload:
    kv_heads, shared = draw(st.sampled_from([(1, 1), (1, 2), (2, 2), (3, 1)]))
    heads = kv_heads * shared
    strides = draw(st.lists(st.integers(1, 4), min_size=heads, max_size=heads))
    positions = draw(st.lists(st.integers(0, 4), max_size=3))
    window = draw(st.integers(1, 9))
    pattern = (
        AttentionPattern.dense(heads, causal=True)
        if draw(st.booleans())
        else AttentionPattern.sliding(window, strides, positions, heads, causal=True)
    )
    seq_len = draw(st.integers(5, 30))
    return Workload(
        pattern,
        seq_len,
        hidden_size=6,
        batch_size=2,
        mode="decode",
        kv_heads=kv_heads,
        head_dim=3,
        value_dim=5,
        new_tokens=draw(st.integers(1, seq_len)),
    )


def attended_by_key_heads(workload: Workload, seq_len: int) -> NDArray[np.bool_]:
    """Bool `(kv_heads, queries, keys)`: whether a query head of the group attends to the key."""
    mask = workload.layers[0].mask(seq_len)
    return np.any(mask.reshape(workload.kv_heads, -1, seq_len, seq_len), axis=1)


@given(workload=decoded())
def test_read_bytes_are_those_of_earlier_keys_that_a_new_query_attends_to(
    workload: Workload,
) -> None:
    first = workload.seq_len - workload.new_tokens
    rows = attended_by_key_heads(workload, workload.seq_len)[:, first:, :first]
    assert read_cache_bytes(workload) == BYTES_PER_TOKEN * int(rows.any(1).sum())


@given(workload=decoded())
def test_the_cache_holds_all_from_the_first_key_in_reach_of_a_later_query_and_the_sinks(
    workload: Workload,
) -> None:
    n, sinks = workload.seq_len, set(workload.layers[0].global_positions)
    without_sinks = replace(workload, pattern=replace(workload.layers[0], global_positions=()))
    in_windows = attended_by_key_heads(without_sinks, n + LATER)[:, n - 1 :, :n]
    kept = sum(
        len({*range(int(np.argmax(head)), n)} | sinks) for head in np.any(in_windows, axis=1)
    )
    assert cache_bytes(workload) == BYTES_PER_TOKEN * kept


@pytest.mark.parametrize(
    ("seq_len", "window", "tokens"),
    [(4_096, 4_096, 4_096), (32_768, 4_096, 4_096), (1_000, 4_096, 1_000), (32_768, None, 32_768)],
)
def test_a_layer_of_mistral_7b_keeps_its_window(
    seq_len: int, window: int | None, tokens: int
) -> None:
    """8 heads of 128 keys and values in bfloat16, Mistral 7B, arXiv 2310.06825, table 1."""
    pattern = (
        AttentionPattern.dense(32, causal=True)
        if window is None
        else AttentionPattern.sliding(window, num_heads=32, causal=True)
    )
    workload = Workload(
        pattern, seq_len, 4096, dtype="bfloat16", mode="decode", kv_heads=8, head_dim=128
    )
    assert cache_bytes(workload) == tokens * 8 * 128 * 2 * 2


def test_layers_of_a_stack_have_caches_of_their_own() -> None:
    local = AttentionPattern.sliding(8, num_heads=2, causal=True)
    dense = AttentionPattern.dense(2, causal=True)
    one = Workload(local, 100, 8, mode="decode")
    stack = replace(one, pattern=AttentionStack(layers=(local, local, dense)))
    per_token = 2 * 8 * 4
    assert cache_bytes(one) == 8 * per_token
    assert cache_bytes(stack) == (8 + 8 + 100) * per_token
    assert read_cache_bytes(stack) == (7 + 7 + 99) * per_token
