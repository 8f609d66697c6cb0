"""A module that is linear in the length; `attnprof guard check` fails if it becomes quadratic.

Linear attention, Katharopoulos et al., arXiv 2006.16236: keys and values are summed only once.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import elu


class LinearAttention(nn.Module):
    """q (kᵀ v) instead of (q kᵀ) v, with elu + 1 in place of the softmax."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """From `(batch, len, hidden)` to the same shape."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = elu(q) + 1, elu(k) + 1
        mixed = q @ (k.transpose(-1, -2) @ v)
        scale = q @ k.sum(dim=2).unsqueeze(-1)
        return self.out((mixed / scale).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention and a feed-forward network, each with a residual connection."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.attention = LinearAttention(hidden_size, num_heads)
        self.up = nn.Linear(hidden_size, 4 * hidden_size)
        self.down = nn.Linear(4 * hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """From `(batch, len, hidden)` to the same shape."""
        x = x + self.attention(x)
        return x + self.down(torch.relu(self.up(x)))


def build(hidden_size: int = 256, num_heads: int = 4) -> nn.Module:
    """Four layers; attnprof passes the sizes of the contract."""
    return nn.Sequential(*(Layer(hidden_size, num_heads) for _ in range(4)))
