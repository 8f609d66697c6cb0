"""The attention of global tokens to all tokens, projected or with the projections absorbed.

Queries of heads that share keys are folded into more queries of one head: all of them attend to all
keys, so that no key is repeated in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, scaled_dot_product_attention

from attnprof.nn.banded.band import Band
from attnprof.nn.banded.tile_kernels import accumulate_type


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWeights:
    """How the scores of global tokens become attention weights.

    Attributes:
        padded: bool `(batch, seq_len)`, true for keys to which no query attends; None for none.
        scale: factor of the scores.
        dropout_p: probability with which a weight is dropped.
    """

    padded: Tensor | None
    scale: float
    dropout_p: float

    def bias(self, like: Tensor) -> Tensor | None:
        """Added to the scores: `(batch, 1, 1, seq_len)` of the dtype of a tensor, or None."""
        if self.padded is None:
            return None
        bias = like.new_zeros(self.padded.shape).masked_fill(self.padded, -torch.inf)
        return bias[:, None, None]


def attend_projected(query: Tensor, key: Tensor, value: Tensor, weights: RowWeights) -> Tensor:
    """The outputs of global tokens, `(batch, heads, globals, value_dim)`.

    Args:
        query: `(batch, heads, globals, head_dim)`.
        key: of all tokens, `(batch, kv_heads, seq_len, head_dim)`.
        value: of all tokens, `(batch, kv_heads, seq_len, value_dim)`.
        weights: how scores become weights.
    """
    output = scaled_dot_product_attention(
        _fold_groups(query, key.shape[1]),
        key,
        value,
        attn_mask=weights.bias(query),
        dropout_p=weights.dropout_p,
        scale=weights.scale,
    )
    return _unfold_groups(output, query.shape[1])


def attend_absorbed(
    query: Tensor,
    hidden_states: Tensor,
    key: nn.Linear,
    value: nn.Linear,
    kv_heads: int,
    weights: RowWeights,
) -> Tensor:
    """The outputs of global tokens, `(batch, heads, globals, value_dim)`, projections absorbed.

    Queries are multiplied with the key projection, and contexts with the value projection, so
    that attention uses the hidden states directly: see `attnprof.core.global_queries`.

    Args:
        query: `(batch, heads, globals, head_dim)`.
        hidden_states: `(batch, seq_len, hidden)`.
        key: the projection of keys, with a bias.
        value: the projection of values, with a bias.
        kv_heads: heads of keys and values.
        weights: how scores become weights.
    """
    heads = query.shape[1]
    shares = _absorbed_shares(_fold_groups(query, kv_heads), hidden_states, key, weights)
    context = (shares.flatten(1, 2) @ hidden_states).unflatten(1, shares.shape[1:3])
    projection = value.weight.unflatten(0, (kv_heads, -1)).transpose(1, 2)
    value_bias = shares.sum(-1, keepdim=True) * value.bias.view(kv_heads, 1, -1)
    return _unfold_groups(_per_head(context, projection) + value_bias, heads)


def _absorbed_shares(
    query: Tensor, hidden_states: Tensor, key: nn.Linear, weights: RowWeights
) -> Tensor:
    """Attention weights, `(batch, kv_heads, rows, seq_len)`, of queries of that many rows."""
    kv_heads, rows = query.shape[1:3]
    query = query * weights.scale
    absorbed = _per_head(query, key.weight.unflatten(0, (kv_heads, -1)))
    scores = absorbed.flatten(1, 2) @ hidden_states.transpose(1, 2)
    scores = scores.unflatten(1, (kv_heads, rows))
    scores = scores + (query * key.bias.view(kv_heads, 1, -1)).sum(-1, keepdim=True)
    bias = weights.bias(hidden_states)
    if bias is not None:
        scores = scores + bias
    shares = scores.softmax(-1, dtype=accumulate_type(scores)).to(scores.dtype)
    return dropout(shares, weights.dropout_p)


def global_index(band: Band, device: torch.device) -> Tensor:
    """Positions of global tokens, `(batch, globals)`, padded with 0.

    `globals` is the largest number of global tokens of a sequence.
    """
    count = max(map(len, band.global_positions))
    rows = [positions + (0,) * (count - len(positions)) for positions in band.global_positions]
    return torch.tensor(rows, dtype=torch.int64, device=device)


def _fold_groups(query: Tensor, kv_heads: int) -> Tensor:
    """`(batch, kv_heads, sharing heads * queries, width)` of `(batch, heads, queries, width)`."""
    if kv_heads == query.shape[1]:
        return query
    return query.unflatten(1, (kv_heads, -1)).flatten(2, 3)


def _unfold_groups(output: Tensor, heads: int) -> Tensor:
    """The inverse of `_fold_groups`: `(batch, heads, queries, width)`."""
    if heads == output.shape[1]:
        return output
    return output.unflatten(2, (heads // output.shape[1], -1)).flatten(1, 2)


def _per_head(rows: Tensor, matrices: Tensor) -> Tensor:
    """`(batch, heads, rows, n)` times `(heads, n, m)`: `(batch, heads, rows, m)`."""
    batch, _, count, _ = rows.shape
    products = rows.transpose(0, 1).flatten(1, 2) @ matrices
    return products.unflatten(1, (batch, count)).transpose(0, 1)
