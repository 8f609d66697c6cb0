"""The blockwise definition and its gradients against dense attention in double precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from attention_reference import reference_attention
from hypothesis import given, settings
from hypothesis import strategies as st

from attnprof import AttentionPattern
from attnprof.nn.checking import definition
from attnprof.nn.checking.expected_outputs import Definition
from attnprof.nn.checking.sampled_rows import sampled_rows
from attnprof.nn.checking.sources import GivenHeads, ProjectedHeads, Projection
from attnprof.nn.checking.tolerance import Precision


@dataclass(frozen=True)
class Drawn:
    """A pattern of two heads and a length, with rows to sample."""

    seq_len: int
    arguments: dict[str, Any]
    positions: list[int]
    rows: list[int]

    @property
    def pattern(self) -> AttentionPattern:
        return AttentionPattern.sliding(
            global_positions=self.positions, num_heads=2, **self.arguments
        )

    def definition(self, head_dim: int) -> Definition:
        return Definition(
            pattern=self.pattern,
            seq_len=self.seq_len,
            rows=self.rows,
            scale=head_dim**-0.5,
            precision=Precision(torch.float64, self.seq_len),
        )


@st.composite
def drawn_patterns(draw: st.DrawFn) -> Drawn:
    seq_len = draw(st.integers(1, 60))
    causal = draw(st.booleans())
    before, after = draw(st.integers(0, 20)), draw(st.integers(0, 20))
    dilation = draw(st.lists(st.integers(1, 4), min_size=2, max_size=2))
    positions = st.sets(st.integers(0, seq_len - 1), max_size=3)
    rows = st.sets(st.integers(0, seq_len - 1), min_size=1, max_size=8)
    window = (before, 0 if causal else after)
    return Drawn(
        seq_len=seq_len,
        arguments={"window": window, "causal": causal, "dilation": dilation},
        positions=sorted(draw(positions)),
        rows=sorted(draw(rows)),
    )


@given(drawn_patterns(), st.booleans(), st.sampled_from([1, 2]), st.sampled_from([5, 3]))
@settings(max_examples=40)
def test_sampled_rows_and_their_gradients_are_those_of_dense_attention(
    drawn: Drawn, has_global_projections: bool, kv_heads: int, value_dim: int
) -> None:
    has_global_projections &= not drawn.pattern.causal
    torch.manual_seed(0)
    shapes = ((2, 5), (kv_heads, 5), (kv_heads, value_dim)) * 2
    tensors = [
        torch.randn(1, heads, drawn.seq_len, width, dtype=torch.float64, requires_grad=True)
        for heads, width in shapes
    ]
    ordinary = tensors[:3]
    of_globals = tensors[3:] if has_global_projections else ordinary
    prefix = "own_" if has_global_projections else ""
    dense = reference_attention(
        *ordinary,
        **drawn.arguments,
        positions=[drawn.positions],
        of_globals=of_globals if has_global_projections else None,
    )
    cotangent = torch.randn(2, len(drawn.rows), value_dim, dtype=torch.float64)
    (dense[0][:, drawn.rows] * cotangent).sum().backward()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(definition, "KEYS_PER_BLOCK", 16)  # several blocks, the last one smaller
        expected = drawn.definition(5).expected(
            GivenHeads(*(tensor.detach()[0] for tensor in ordinary)),
            GivenHeads(*(tensor.detach()[0] for tensor in of_globals), prefix),
            cotangent,
        )
    rows = dense.detach()[0][:, drawn.rows]
    torch.testing.assert_close(expected.output, rows, atol=1e-12, rtol=0)
    names = ["query", "key", "value", "own_query", "own_key", "own_value"]
    for name, tensor in zip(names, tensors, strict=True):
        gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        if name in expected.gradients:
            actual, _ = expected.gradients[name]
            torch.testing.assert_close(actual, gradient[0][:, drawn.rows], atol=1e-12, rtol=0)
        else:
            assert not gradient[0][:, drawn.rows].any()


@given(drawn_patterns(), st.sampled_from([1, 2]), st.booleans(), st.booleans())
@settings(max_examples=20)
def test_projected_heads_have_the_gradient_of_the_hidden_states(
    drawn: Drawn, kv_heads: int, has_bias: bool, is_rotated: bool
) -> None:
    torch.manual_seed(0)
    n = drawn.seq_len
    hidden = torch.randn(n, 7, dtype=torch.float64, requires_grad=True)
    angles = torch.outer(torch.arange(n), torch.tensor([1.0, 0.1])).repeat(1, 2).double()
    rotation = (angles.cos(), angles.sin()) if is_rotated else None
    projections = {
        name: Projection(
            weight=torch.randn(heads * 4, 7, dtype=torch.float64),
            bias=torch.randn(heads * 4, dtype=torch.float64) if has_bias else None,
            heads=heads,
            rotation=None if name == "value" else rotation,
        )
        for name, heads in (("query", 2), ("key", kv_heads), ("value", kv_heads))
    }

    def projected(name: str) -> torch.Tensor:
        one = projections[name]
        rows = torch.nn.functional.linear(hidden, one.weight, one.bias)
        heads = rows.view(n, one.heads, 4).transpose(0, 1)
        if one.rotation is None:
            return heads.unsqueeze(0)
        turned = torch.view_as_complex(heads.unflatten(-1, (2, 2)).transpose(-1, -2).contiguous())
        turned = turned * torch.polar(torch.ones_like(angles[:, :2]), angles[:, :2])
        return torch.view_as_real(turned).transpose(-1, -2).flatten(-2).unsqueeze(0)

    dense = reference_attention(
        *(projected(name) for name in projections), **drawn.arguments, positions=[drawn.positions]
    )
    cotangent = torch.randn(2, len(drawn.rows), 4, dtype=torch.float64)
    (dense[0][:, drawn.rows] * cotangent).sum().backward()
    source = ProjectedHeads(hidden.detach(), projections)
    expected = drawn.definition(4).expected(source, source, cotangent)
    rows = dense.detach()[0][:, drawn.rows]
    torch.testing.assert_close(expected.output, rows, atol=1e-11, rtol=0)
    assert hidden.grad is not None
    actual, _ = expected.gradients["hidden_states"]
    torch.testing.assert_close(actual, hidden.grad[drawn.rows], atol=1e-10, rtol=0)


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
