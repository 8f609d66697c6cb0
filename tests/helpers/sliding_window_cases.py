"""Cases of sliding window attention: shapes, windows, global tokens and padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from attention_reference import reference_attention
from hypothesis import strategies as st
from torch import Tensor

from attnprof import sliding_window_attention

Positions = tuple[tuple[int, ...], ...]


def normal(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)


def as_projected(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """A random tensor of that shape, in the memory layout of a projection's output."""
    batch, heads, seq_len, head_dim = shape
    rows = normal(batch, seq_len, heads, head_dim, dtype=dtype, seed=seed)
    return rows.transpose(1, 2)


@dataclass(frozen=True)
class Case:
    """A call: its shape, pattern, padding and tensors."""

    shape: tuple[int, int, int, int]
    window: int | tuple[int, int]
    dilation: tuple[int, ...]
    positions: Positions
    padded: Tensor | None
    own_projections: bool
    projected_layout: bool
    scale: float | None = None
    causal: bool = False
    kv_heads: int = 0
    value_dim: int = 0

    def tensors(self, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """Query, key and value, and those of global tokens; leaves of a graph."""
        make = as_projected if self.projected_layout else normal
        batch, heads, seq_len, head_dim = self.shape
        keys = (batch, self.kv_heads or heads, seq_len, head_dim)
        shapes = [self.shape, keys, (*keys[:3], self.value_dim or head_dim)]
        shapes *= 2 if self.own_projections and not self.causal else 1
        return [
            make(*shape, dtype=dtype, seed=seed).requires_grad_()
            for seed, shape in enumerate(shapes)
        ]

    def attend(self, tensors: Sequence[Tensor], **changes: Any) -> Tensor:
        """`sliding_window_attention` of these tensors."""
        of_globals = dict(
            zip(("global_query", "global_key", "global_value"), tensors[3:], strict=False)
        )
        arguments: dict[str, Any] = {
            "window": self.window,
            "causal": self.causal,
            "enable_gqa": bool(self.kv_heads),
            "dilation": self.dilation,
            "global_positions": self.positions,
            "key_padding_mask": self.padded,
            "scale": self.scale,
        }
        return sliding_window_attention(*tensors[:3], **(arguments | of_globals | changes))

    def expected(self, tensors: Sequence[Tensor]) -> Tensor:
        """The output by the reference."""
        query, key, value, *of_globals = (tensor.double() for tensor in tensors)
        return reference_attention(
            query,
            key,
            value,
            window=self.window,
            causal=self.causal,
            dilation=self.dilation,
            positions=self.positions,
            of_globals=of_globals or None,
            padded=self.padded,
            scale=self.scale,
        )


@st.composite
def cases(draw: st.DrawFn, lengths: st.SearchStrategy[int] | None = None) -> Case:
    batch, heads = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    seq_len = draw(lengths or st.integers(1, 150))
    position = st.integers(0, seq_len - 1)
    chosen = st.lists(position, max_size=draw(st.sampled_from((0, 2, 9))), unique=True).map(
        lambda drawn: tuple(sorted(drawn))
    )
    padded = None
    if draw(st.booleans()):
        kept = [draw(st.integers(0, seq_len)) for _ in range(batch)]
        padded = torch.arange(seq_len) >= torch.tensor(kept).unsqueeze(1)
        padded[:, draw(position)] ^= draw(st.booleans())
    causal = draw(st.booleans())
    symmetric = st.integers(1, 60).map(lambda half: 2 * half)
    sides = st.tuples(st.integers(0, 60), st.just(0) if causal else st.integers(0, 60))
    divisors = [divisor for divisor in range(1, heads + 1) if heads % divisor == 0]
    return Case(
        shape=(batch, heads, seq_len, draw(st.sampled_from((16, 24, 32)))),
        window=draw(st.one_of(symmetric, sides)),
        causal=causal,
        kv_heads=draw(st.sampled_from((0, *divisors))),
        value_dim=draw(st.sampled_from((0, 0, 8, 40))),
        dilation=tuple(
            draw(
                st.lists(st.sampled_from((1, 1, 2, 3, 7, 40)), min_size=heads, max_size=heads),
            )
        ),
        positions=tuple(draw(chosen) for _ in range(batch)),
        padded=padded,
        own_projections=draw(st.booleans()),
        projected_layout=draw(st.booleans()),
        scale=draw(st.sampled_from((None, 0.5))),
    )


def error(ours: Tensor, theirs: Tensor) -> float:
    difference = ours.detach().double() - theirs.detach().double()
    return float(difference.abs().max()) if theirs.numel() else 0.0


def gradients(output: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(
        output,
        tensors,
        normal(*output.shape, seed=99).to(output.dtype),
        allow_unused=True,
    )


# Long enough for several tiles in a sequence, and for several groups of dilated chains.
LONG = [
    Case((1, 2, 700, 64), 512, (1, 1), ((),), None, False, True),
    Case((2, 2, 1300, 32), 256, (1, 1), ((0,), (5, 600)), None, True, True),
    Case((1, 3, 1111, 16), 64, (1, 2, 8), ((0, 1, 700),), None, False, False),
    Case((1, 1, 2050, 16), 2, (1,), ((2049,),), None, False, True),
    Case((1, 2, 1024, 16), 128, (3, 300), (tuple(range(40)),), None, True, True),
    Case(
        (2, 1, 900, 256), 100, (1,), ((), (899,)), torch.arange(1800).view(2, 900) > 850, True, True
    ),
    Case((2, 4, 1500, 32), 257, (1,) * 4, ((0, 1), (0,)), None, False, True, None, True, 2),
    Case((1, 4, 1111, 16), (3, 90), (1, 2, 8, 8), ((5, 700),), None, True, True, None, False, 1),
    Case((1, 2, 700, 32), 700, (1, 1), ((),), None, False, True, None, True, 1, 48),
]
