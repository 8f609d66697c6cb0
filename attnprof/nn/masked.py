"""Any pattern as dense attention under its mask."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from attnprof.nn.projected_attention import HeadShape, ProjectedSelfAttention


class MaskedSelfAttention(ProjectedSelfAttention):
    """Self-attention that computes all n^2 scores and masks those outside the pattern.

    Any pattern at one length; time and memory are quadratic in it.

    Args:
        shape: sizes of the attention.
        mask: bool `(num_heads or 1, seq_len, seq_len)`, true where a query attends to a key; None
            if all queries attend to all keys.
        global_positions: as in `ProjectedSelfAttention`.
    """

    mask: Tensor | None

    def __init__(
        self, shape: HeadShape, mask: Tensor | None, global_positions: Sequence[int] = ()
    ) -> None:
        super().__init__(shape, global_positions)
        # Fused attention needs a mask with four dimensions; with three, torch falls back.
        four = None if mask is None else mask.unsqueeze(0)
        self.register_buffer("mask", four, persistent=False)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Fused attention under the mask."""
        return scaled_dot_product_attention(
            query, key, value, attn_mask=self.mask, enable_gqa=self.is_grouped
        )
