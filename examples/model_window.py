"""A layer with a window of 256 keys, half on each side, computed in two ways.

attnprof windows --kernel examples.model_window:Masked examples.model_window:Banded --len 8k
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

import attnprof

WINDOW = 256


class Windowed(nn.Module):
    """Self-attention `(batch, seq_len, hidden_size)` to a window.

    Args:
        hidden_size: width of the layer.
        num_heads: heads of the layer, a divisor of its width.
    """

    def __init__(self, hidden_size: int = 768, num_heads: int = 12) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = WINDOW
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """The attention's output, of the same shape."""
        projected = self.qkv(hidden_states).unflatten(2, (3, self.num_heads, -1))
        context = self.attend(*projected.permute(2, 0, 3, 1, 4))
        return context.transpose(1, 2).flatten(2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of `(batch, heads, seq_len, head_dim)`."""
        raise NotImplementedError


class Masked(Windowed):
    """Computes all pairs, and masks those outside the window."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Dense attention with a mask."""
        position = torch.arange(query.shape[2], device=query.device)
        is_near = (position[:, None] - position).abs() <= self.window_size // 2
        return scaled_dot_product_attention(query, key, value, attn_mask=is_near)


class Banded(Windowed):
    """Computes the pairs inside the window."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention to the window alone, linear in length."""
        return attnprof.sliding_window_attention(query, key, value, window=self.window_size)
