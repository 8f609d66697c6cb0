"""Predicted peaks of `longformer-banded` on CUDA against runs on fake CUDA tensors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnprof import AttentionPattern, Workload, kernels
from attnprof.counting.allocations import peak_bytes
from attnprof.counting.fake_tensors import fake_mode

HEADS = 4
BANDED = kernels.find("longformer-banded")


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    seq_len = draw(st.integers(100, 250))
    dilation = draw(st.sampled_from((1, 2, (1, 1, 2, 2))))
    number = draw(st.sampled_from((0, 1, 12, 40)))
    causal = draw(st.booleans())
    window = draw(st.integers(1, 50)) * 2 + causal
    pattern = AttentionPattern.sliding(
        window, dilation, range(number), num_heads=HEADS, causal=causal
    )
    head_dim = draw(st.sampled_from((8, 20, 32)))
    sizes: dict[str, Any] = {
        "hidden_size": draw(st.sampled_from((64, 128))),
        "batch_size": draw(st.sampled_from((1, 2))),
        "dtype": draw(st.sampled_from(("float32", "bfloat16", "float16", "float64"))),
        "mode": draw(st.sampled_from(("inference", "training"))),
        "scope": draw(st.sampled_from(("attention", "layer"))),
        "kv_heads": draw(st.sampled_from((1, 2, 4))),
        "head_dim": head_dim,
        "value_dim": draw(st.sampled_from((head_dim, 24))),
    }
    return Workload(pattern, seq_len, device="cuda", **sizes)


def followed_peak(workload: Workload) -> int:
    with fake_mode():
        return peak_bytes(BANDED.build(workload).run)


@given(workloads())
@settings(max_examples=4)
def test_predicted_peak_is_that_of_the_tiles_on_cuda(workload: Workload) -> None:
    assert BANDED.peak_bytes(workload) == pytest.approx(followed_peak(workload), rel=0.02)


@pytest.mark.parametrize(("dilation", "number"), [(1, 64), (8, 1)])
def test_predicted_peak_of_a_length_in_practice_is_exact(dilation: int, number: int) -> None:
    pattern = AttentionPattern.sliding(512, dilation, range(number))
    workload = Workload(pattern, 4096, device="cuda", dtype="bfloat16", mode="training")
    assert BANDED.peak_bytes(workload) == pytest.approx(followed_peak(workload), rel=1e-4)
