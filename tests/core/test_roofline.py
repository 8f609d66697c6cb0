"""Least bytes against enumerated keys and real tensors; what bounds a call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnprof import AttentionPattern, Workload
from attnprof.core.records import COPY_RATE, MATMUL_RATE
from attnprof.core.roofline import bound, intensity, min_bytes


@st.composite
def decoding(draw: st.DrawFn) -> Workload:
    """A call of a few new tokens: any strides by head, sinks, grouped heads, widths."""
    heads = draw(st.sampled_from([1, 2, 4]))
    seq_len = draw(st.integers(1, 40))
    positions = draw(st.sets(st.integers(0, seq_len - 1), max_size=3))
    causal = draw(st.booleans())
    window = draw(st.integers(1, 12))
    strides = draw(st.lists(st.integers(1, 5), min_size=heads, max_size=heads))
    sliding = AttentionPattern.sliding(
        window if causal else 2 * window, strides, tuple(positions), heads, causal=causal
    )
    dense = AttentionPattern.dense(heads, causal=causal)
    return Workload(
        draw(st.sampled_from([sliding, dense])),
        seq_len,
        hidden_size=8 * heads,
        batch_size=draw(st.integers(1, 3)),
        dtype=draw(st.sampled_from(["float32", "bfloat16"])),
        mode="decode",
        kv_heads=draw(st.sampled_from([k for k in (1, 2, 4) if heads % k == 0])),
        head_dim=draw(st.sampled_from([4, 8])),
        value_dim=draw(st.sampled_from([4, 6])),
        new_tokens=draw(st.integers(1, seq_len)),
    )


@given(decoding())
def test_decoding_reads_the_cached_keys_that_the_mask_lets_through(workload: Workload) -> None:
    n, m, kv_heads = workload.seq_len, workload.new_tokens, workload.kv_heads
    layer = workload.layers[0]
    rows = layer.mask_rows(n, n - m, n)[:, :, : n - m]
    by_head = rows.any(axis=1).reshape(kv_heads, workload.num_heads // kv_heads, n - m).any(axis=1)
    row_bytes = (workload.head_dim + workload.value_dim) * workload.dtype_bytes
    cached = workload.batch_size * int(by_head.sum()) * row_bytes
    written = workload.batch_size * kv_heads * m * row_bytes
    hidden = workload.batch_size * m * (workload.hidden_size + workload.output_width)
    sets = 2 if layer.symmetric_globals else 1
    widths = workload.query_width + workload.key_width + workload.value_width
    weights = sets * (workload.hidden_size + 1) * widths
    assert min_bytes(workload) == cached + written + workload.dtype_bytes * (hidden + weights)


def test_a_window_bounds_what_decoding_reads_at_any_length() -> None:
    def least(window: int | None, seq_len: int) -> int:
        pattern = AttentionPattern.dense(4, causal=True)
        if window:
            pattern = AttentionPattern.sliding(window, num_heads=4, causal=True)
        return min_bytes(Workload(pattern, seq_len, 64, mode="decode"))

    assert least(512, 10**7) == least(512, 4096)
    assert least(None, 10**7) - least(None, 4096) == (10**7 - 4096) * 2 * 64 * 4


def test_training_moves_a_gradient_of_each_tensor() -> None:
    for scope in ("attention", "layer"):
        inference, training = (
            Workload(AttentionPattern.dense(4), 32, 64, mode=mode, scope=scope)
            for mode in ("inference", "training")
        )
        assert min_bytes(training) == 2 * min_bytes(inference)


@pytest.mark.parametrize(
    ("flops_per_byte", "expected"), [(7.9, "memory"), (8.0, "compute"), (8.1, "compute")]
)
def test_a_call_below_the_machines_balance_is_bound_by_memory(
    flops_per_byte: float, expected: str
) -> None:
    rates = {MATMUL_RATE: 40 * 10**9, COPY_RATE: 10 * 10**9}
    assert bound({"intensity": flops_per_byte, **rates}) == expected
    assert bound({"intensity": flops_per_byte}) is None
    assert bound(rates) is None


def test_intensity_counts_two_flops_for_each_mac() -> None:
    assert intensity(3, 4) == 1.5
