"""An encoder before and after a careless change: `build("fused")`, `build("eager")` and so on."""

import torch
from torch import nn
from torch.nn.functional import pad, scaled_dot_product_attention

from attnprof import sliding_window_attention

HIDDEN = 64
WINDOW = 64


def fused(q, k, v):
    return scaled_dot_product_attention(q, k, v)


def eager(q, k, v):
    return (q @ k.transpose(-1, -2)).softmax(-1) @ v


def banded(window=WINDOW, dilation=1, globals_of=lambda n: 1):
    def attend(q, k, v):
        positions = range(globals_of(q.shape[2]))
        return sliding_window_attention(
            q, k, v, window=window, dilation=dilation, global_positions=positions
        )

    return attend


def masked(q, k, v):
    """A sliding window as a mask over all pairs."""
    n = torch.arange(q.shape[2])
    return scaled_dot_product_attention(q, k, v, (n[:, None] - n).abs() <= WINDOW // 2)


def linear(q, k, v):
    return q.softmax(-1) @ (k.softmax(-2).transpose(-1, -2) @ v)


def biased(q, k, v):
    """Linear attention with a bias over all pairs, computed as a matrix product."""
    positions = torch.linspace(0, 1, q.shape[2])[:, None].expand(-1, 2).contiguous()
    return linear(q, k, v) + (positions @ positions.T).mean()


def hidden_buffer(q, k, v):
    """Linear attention with a mask over all pairs that only tests whether a pair is allowed."""
    allowed = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).tril()
    return linear(q, k, v) * allowed.any()


def recomputed(q, k, v):
    """Linear attention that recomputes its state for each block of tokens."""
    blocks = [linear(part, k, v) for part in q.split(64, dim=2)]
    return torch.cat(blocks, 2)


class Core(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.attend = attend

    def forward(self, q, k, v):
        return self.attend(q, k, v)


class Attention(nn.Module):
    def __init__(self, attend, heads=4, head_dim=16, *, gated=False):
        super().__init__()
        self.heads = heads
        width = heads * head_dim
        self.query = nn.Linear(HIDDEN, width)
        self.key = nn.Linear(HIDDEN, width)
        self.value = nn.Linear(HIDDEN, width)
        self.core = Core(attend)
        self.out = nn.Linear(width, HIDDEN)
        self.gate = nn.Linear(HIDDEN, width) if gated else None

    def forward(self, x):
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        mixed = self.core(q, k, v).transpose(1, 2).flatten(2)
        if self.gate is not None:
            mixed = mixed * self.gate(x).sigmoid()
        return self.out(mixed)


class Layer(nn.Module):
    def __init__(self, attention, *, upcast=False):
        super().__init__()
        self.attention = attention
        self.up = nn.Linear(HIDDEN, 4 * HIDDEN)
        self.down = nn.Linear(4 * HIDDEN, HIDDEN)
        self.upcast = upcast

    def forward(self, x):
        x = x + self.attention(x)
        wide = self.up(x)
        wide = wide.float().relu().to(x.dtype) if self.upcast else wide.relu()
        return x + self.down(wide)


class Encoder(nn.Module):
    def __init__(self, make_layer):
        super().__init__()
        self.layers = nn.ModuleList(make_layer() for _ in range(2))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Blocked(nn.Module):
    """A sliding window by matrix products: each block attends to itself and to the block before."""

    def __init__(self, block=WINDOW):
        super().__init__()
        self.block = block

    def forward(self, q, k, v):
        n = q.shape[2]
        split = [
            pad(t, (0, 0, 0, -n % self.block)).unflatten(2, (-1, self.block)) for t in (q, k, v)
        ]
        q, k, v = split
        k, v = (torch.cat([pad(t, (0, 0, 0, 0, 1, 0))[:, :, :-1], t], 3) for t in (k, v))
        return eager(q, k, v).flatten(2, 3)[:, :, :n]


CORES = {
    "fused": fused,
    "eager": eager,
    "banded": banded(),
    "wide": banded(window=2 * WINDOW),
    "dilated": banded(dilation=2),
    "all_global": banded(globals_of=lambda n: n // 64),
    "masked": masked,
    "linear": linear,
    "biased": biased,
    "hidden_buffer": hidden_buffer,
    "recomputed": recomputed,
}


def build(name):
    """The encoder with a named change; `gated`, `wide_heads` and `upcast` change `linear`."""

    def layer():
        if name == "gated":
            return Layer(Attention(linear, gated=True))
        if name == "wide_heads":
            return Layer(Attention(linear, head_dim=32))
        if name == "upcast":
            return Layer(Attention(linear), upcast=True)
        if name == "blocked":
            return Layer(Attention(Blocked()))
        if name == "wide_blocked":
            return Layer(Attention(Blocked(2 * WINDOW)))
        return Layer(Attention(CORES[name]))

    return Encoder(layer)
