"""transformers' `MistralAttention` without its output projection.

Source: transformers, models/mistral/modeling_mistral.py, classes MistralAttention and MistralModel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.models.mistral.modeling_mistral import MistralAttention, MistralRotaryEmbedding


class MistralSelfAttention(MistralAttention):
    """Projections, rotary embeddings and causal attention, with the mask that a model passes.

    Args:
        config: a `MistralConfig`, with an attention implementation.
        mask: as `MistralModel` makes it: added to scores under `eager`, true where a query attends
            to a key under `sdpa`, `(batch, 1, queries, keys)` each; None for none.
        layer_id: index of the layer, from 0.
    """

    mask: torch.Tensor | None

    def __init__(self, config: Any, mask: torch.Tensor | None, layer_id: int = 0) -> None:
        super().__init__(config, layer_id)
        self.o_proj = nn.Identity()
        self.register_buffer("mask", mask, persistent=False)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - the mask is its own
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        **cached: Any,
    ) -> torch.Tensor:
        """`(batch, seq_len, hidden)` to `(batch, seq_len, num_heads * head_dim)`.

        Args:
            hidden_states: the input.
            position_embeddings: cosines and sines, `(1, seq_len, head_dim)` each.
            cached: the cache of earlier tokens, by the name that transformers' class gives it.
        """
        output, _ = super().forward(hidden_states, position_embeddings, self.mask, **cached)
        return output


def position_embeddings(
    config: Any, seq_len: int, first: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines as `MistralModel` makes them, `(1, tokens, head_dim)` each.

    Args:
        config: a `MistralConfig`.
        seq_len: tokens in the sequence.
        first: position of the first token that is not in a cache.
    """
    positions = torch.arange(first, seq_len).unsqueeze(0)
    return MistralRotaryEmbedding(config)(torch.empty(0), positions)
