"""Any pattern as dense attention under its mask."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from attnprof.nn.projected_attention import HeadShape, ProjectedSelfAttention
from attnprof.nn.window_cache import WindowCache


class MaskedSelfAttention(ProjectedSelfAttention):
    """Self-attention that computes all n^2 scores and masks those outside the pattern.

    Any pattern at one length; time and memory are quadratic in it.

    Args:
        shape: sizes of the attention.
        mask: bool `(num_heads or 1, queries, keys)`, true where a query attends to a key; None
            if all queries attend to all keys.
        global_positions: as in `ProjectedSelfAttention`.
        layer_id: index of its layer in a cache, from 0.
    """

    mask: Tensor | None

    def __init__(
        self,
        shape: HeadShape,
        mask: Tensor | None,
        global_positions: Sequence[int] = (),
        layer_id: int = 0,
    ) -> None:
        super().__init__(shape, global_positions)
        self.layer_id = layer_id
        # Fused attention needs a mask with four dimensions; with three, torch falls back.
        four = None if mask is None else mask.unsqueeze(0)
        self.register_buffer("mask", four, persistent=False)

    def forward(self, hidden_states: Tensor, cache: WindowCache | None = None) -> Tensor:
        """`(batch, seq_len, hidden)` to `(batch, seq_len, num_heads * value_dim)`.

        Args:
            hidden_states: the input.
            cache: of all earlier tokens, with dense patterns: the hidden states are those of the
                next ones, and are added to it.
        """
        if cache is None:
            return super().forward(hidden_states)
        query, key, value = self._project(hidden_states, hidden_states, "")
        layer = cache.layers[self.layer_id]
        keys, values = layer.update(key, value)
        del key, value  # copies of them are in the cache
        return self.attend(query, keys, values).transpose(1, 2).flatten(2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Fused attention under the mask."""
        return scaled_dot_product_attention(
            query, key, value, attn_mask=self.mask, enable_gqa=self.is_grouped
        )
