"""A kernel of your own in one file: attention within blocks of 256 tokens.

    attnprof compare --kernel examples.blocks:Attention bert-sdpa

`reference` is the definition: the same weights and the same pattern, as dense attention under a
mask. `--check-against examples.blocks:reference` compares the two before anything is timed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

BLOCK = 256
"""Tokens of a block; a query attends to the keys of its own block."""


class Attention(nn.Module):
    """Self-attention of BERT base's size, in which tokens attend to their own block only."""

    def __init__(self, hidden_size: int = 768, num_heads: int = 12) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Attend within blocks: `(batch, seq_len, hidden_size)` in and out."""
        batch, seq_len, hidden_size = hidden_states.shape
        if seq_len % BLOCK:
            raise ValueError(f"the length must be a multiple of {BLOCK}")
        heads = self.query_key_value(hidden_states)
        # (3, batch * blocks, heads, BLOCK, head_dim): a block is one more sequence of the batch
        heads = heads.view(batch * seq_len // BLOCK, BLOCK, 3, self.num_heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        context = scaled_dot_product_attention(query, key, value)
        return context.transpose(1, 2).reshape(batch, seq_len, hidden_size)


def reference(module: Attention, hidden_states: Tensor) -> Tensor:
    """The definition: every query is compared with every key, and a mask keeps its own block."""
    batch, seq_len, hidden_size = hidden_states.shape
    heads = module.query_key_value(hidden_states).view(batch, seq_len, 3, module.num_heads, -1)
    query, key, value = heads.permute(2, 0, 3, 1, 4)
    block = torch.arange(seq_len, device=hidden_states.device) // BLOCK
    context = scaled_dot_product_attention(
        query, key, value, attn_mask=block[:, None] == block[None, :]
    )
    return context.transpose(1, 2).reshape(batch, seq_len, hidden_size)
