"""A module that is linear in the length, and has to stay so: `attnprof guard check` holds it to it.

Linear attention after Katharopoulos et al., arXiv 2006.16236: keys and values are summed up once.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import elu


class LinearAttention(nn.Module):
    """softmax(q kᵀ) v with elu + 1 for softmax: (q (kᵀ v)) in place of ((q kᵀ) v)."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Mixes `(batch, len, hidden)`."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = elu(q) + 1, elu(k) + 1
        mixed = q @ (k.transpose(-1, -2) @ v)
        scale = q @ k.sum(dim=2).unsqueeze(-1)
        return self.out((mixed / scale).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention and a feed-forward network, each with a residual."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.attention = LinearAttention(hidden_size, num_heads)
        self.up = nn.Linear(hidden_size, 4 * hidden_size)
        self.down = nn.Linear(4 * hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and gives `(batch, len, hidden)`."""
        x = x + self.attention(x)
        return x + self.down(torch.relu(self.up(x)))


def build(hidden_size: int = 256, num_heads: int = 4) -> nn.Module:
    """Four layers; attnprof hands over the contract's sizes."""
    return nn.Sequential(*(Layer(hidden_size, num_heads) for _ in range(4)))
