"""Attention by its definition: dense, in double precision, under the enumerated mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attnprof import AttentionPattern


def reference_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: int | tuple[int, int],
    causal: bool = False,
    dilation: int | Sequence[int] = 1,
    positions: Sequence[Sequence[int]],
    of_globals: Sequence[Tensor] | None = None,
    padded: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """The expected output of `sliding_window_attention`, differentiable.

    Keys and values may have fewer heads than queries, and values another width.
    `positions` are the global positions of each sequence in the batch; `of_globals` are query, key
    and value of global tokens, for all positions; `padded` is true at padded keys.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    heads, seq_len = query.shape[1:3]
    key, value = (t.repeat_interleave(heads // t.shape[1], dim=1) for t in (key, value))
    rows: list[Tensor] = []
    for item, chosen in enumerate(positions):
        pattern = AttentionPattern.sliding(window, dilation, chosen, num_heads=heads, causal=causal)
        mask = torch.tensor(pattern.mask(seq_len))
        if padded is not None:
            mask = mask & ~padded[item]
        row = _attend(query[item], key[item], value[item], mask, scale)
        if of_globals is not None:
            is_global = torch.zeros(seq_len, 1, dtype=torch.bool)
            is_global[list(chosen)] = True
            q, k, v = (
                tensor[item].repeat_interleave(heads // tensor.shape[1], dim=0)
                for tensor in of_globals
            )
            row = torch.where(is_global, _attend(q, k, v, mask, scale), row)
        rows.append(row)
    return torch.stack(rows) if rows else torch.zeros_like(value)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    scores = (query @ key.transpose(-1, -2) * scale).masked_fill(~mask, -1e30)
    return scores.softmax(-1).masked_fill(~mask, 0.0) @ value
