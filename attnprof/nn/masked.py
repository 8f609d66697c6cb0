"""Longformer's attention as dense attention under the pattern's mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention


class MaskedSelfAttention(nn.Module):
    """Self-attention that computes all n^2 scores and masks those outside the pattern.

    Any pattern at one length; time and memory are quadratic in it. Parameters have the names of
    transformers' `LongformerSelfAttention`; the `_global` ones exist only if there are global
    positions.

    Args:
        hidden_size: width of the layer.
        num_heads: heads; they divide `hidden_size`.
        mask: bool `(num_heads or 1, seq_len, seq_len)`, true where a query attends to a key.
        global_positions: positions of global tokens, which have separate projections for their
            queries and for the keys and values that these attend to.
    """

    mask: torch.Tensor
    global_positions: torch.Tensor

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        mask: torch.Tensor,
        global_positions: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.has_globals = len(global_positions) > 0
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        if self.has_globals:
            self.query_global = nn.Linear(hidden_size, hidden_size)
            self.key_global = nn.Linear(hidden_size, hidden_size)
            self.value_global = nn.Linear(hidden_size, hidden_size)
        positions = torch.tensor(tuple(global_positions), dtype=torch.int64)
        # Fused attention needs a mask with four dimensions; with three, torch falls back.
        self.register_buffer("mask", mask.unsqueeze(0), persistent=False)
        self.register_buffer("global_positions", positions, persistent=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`(batch, seq_len, hidden)` to the same shape."""
        output = self._attend(
            self.query(hidden_states), self.key(hidden_states), self.value(hidden_states), self.mask
        )
        if not self.has_globals:
            return output
        rows = self._attend(
            self.query_global(hidden_states[:, self.global_positions]),
            self.key_global(hidden_states),
            self.value_global(hidden_states),
            None,
        )
        return output.index_copy(1, self.global_positions, rows)

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """Attention `(batch, queries, hidden)` of projections `(batch, tokens, hidden)`."""
        heads = [
            projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projected in (query, key, value)
        ]
        return scaled_dot_product_attention(*heads, attn_mask=mask).transpose(1, 2).flatten(2)
