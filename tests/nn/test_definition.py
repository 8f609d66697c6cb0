"""The blockwise definition and its gradients against dense attention in double precision."""

from __future__ import annotations

import pytest
import torch
from attention_reference import reference_attention
from hypothesis import given, settings
from hypothesis import strategies as st

from attnprof import AttentionPattern
from attnprof.nn.checking import definition
from attnprof.nn.checking.expected_outputs import Definition, GivenHeads
from attnprof.nn.checking.sampled_rows import sampled_rows
from attnprof.nn.checking.tolerance import Precision


@given(st.data())
@settings(max_examples=25)
def test_sampled_rows_and_their_gradients_are_those_of_dense_attention(data: st.DataObject) -> None:
    seq_len = data.draw(st.integers(1, 60))
    dilation = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=2))
    positions = sorted(data.draw(st.sets(st.integers(0, seq_len - 1), max_size=3)))
    window = 2 * data.draw(st.integers(1, 20))
    rows = sorted(data.draw(st.sets(st.integers(0, seq_len - 1), min_size=1, max_size=8)))
    has_global_projections = data.draw(st.booleans())
    torch.manual_seed(0)
    pattern = AttentionPattern.sliding(window, dilation, positions, num_heads=2)
    tensors = [
        torch.randn(1, 2, seq_len, 5, dtype=torch.float64, requires_grad=True) for _ in range(6)
    ]
    ordinary = tensors[:3]
    of_globals = tensors[3:] if has_global_projections else ordinary
    prefix = "own_" if has_global_projections else ""
    dense = reference_attention(
        *ordinary, window=window, dilation=dilation, positions=[positions], of_globals=of_globals
    )
    cotangent = torch.randn(2, len(rows), 5, dtype=torch.float64)
    (dense[0][:, rows] * cotangent).sum().backward()

    attention = Definition(
        pattern=pattern,
        seq_len=seq_len,
        rows=rows,
        scale=5**-0.5,
        precision=Precision(torch.float64, seq_len),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(definition, "KEYS_PER_BLOCK", 16)  # several blocks, the last one smaller
        expected = attention.expected(
            GivenHeads(*(tensor.detach()[0] for tensor in ordinary)),
            GivenHeads(*(tensor.detach()[0] for tensor in of_globals), prefix),
            cotangent,
        )
    torch.testing.assert_close(expected.output, dense.detach()[0][:, rows], atol=1e-12, rtol=0)
    names = ["query", "key", "value", "own_query", "own_key", "own_value"]
    for name, tensor in zip(names, tensors, strict=True):
        gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        if name in expected.gradients:
            actual, _ = expected.gradients[name]
            torch.testing.assert_close(actual, gradient[0][:, rows], atol=1e-12, rtol=0)
        else:
            assert not gradient[0][:, rows].any()


@pytest.mark.parametrize(
    ("dtype", "relative"),
    [
        (torch.float64, 1e-13),
        (torch.float32, 3e-5),
        (torch.float16, 6e-3),
        (torch.bfloat16, 5e-2),
    ],
)
def test_tolerances_are_as_small_as_documented(dtype: torch.dtype, relative: float) -> None:
    pattern = AttentionPattern.sliding(8, num_heads=2)
    torch.manual_seed(0)
    heads = GivenHeads(*(torch.randn(2, 100, 16).to(dtype) for _ in range(3)))
    attention = Definition(
        pattern=pattern,
        seq_len=100,
        rows=sampled_rows(pattern, 100),
        scale=0.25,
        precision=Precision(dtype, 100),
    )
    expected = attention.expected(heads, heads)
    share = expected.tolerance / expected.output.norm(dim=-1)
    assert relative / 10 < float(share.median()) < relative
