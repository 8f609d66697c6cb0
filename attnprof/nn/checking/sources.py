"""Sources of queries, keys and values: tensors, or projections of hidden states.

Heads of keys and values may be fewer than those of queries, a divisor of them: each is then shared
by neighbouring query heads (arXiv 2305.13245). A source gives every query head its keys, and sums
the gradients of those that share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnprof.nn.checking.definition import Gradients


@dataclass(frozen=True, slots=True)
class GivenHeads:
    """Queries, keys and values of one sequence, as tensors.

    Attributes:
        query: `(heads, seq_len, head_dim)`.
        key: `(kv_heads, seq_len, head_dim)`.
        value: `(kv_heads, seq_len, value_dim)`.
        prefix: put before the names of their gradients, `query`, `key` and `value`.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    prefix: str = ""

    def queries(self, positions: Tensor) -> Tensor:
        """Float64 `(heads, positions, head_dim)`."""
        return self.query[:, positions].double()

    def keys(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of each query head, float64 `(heads, positions, width)`."""
        heads = len(self.query)
        key, value = (tensor[:, positions].double() for tensor in (self.key, self.value))
        return _of_query_heads(key, heads), _of_query_heads(value, heads)

    def of_leaves(
        self, gradients: Gradients, positions: Sequence[int], chosen: Sequence[int]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Gradients and spreads of the three tensors; those of other queries are 0."""
        query_spread, key_spread, value_spread = gradients.spreads
        of_query = torch.zeros_like(gradients.key)
        of_query[:, list(chosen)] = gradients.query
        spread = torch.zeros_like(key_spread)
        spread[:, list(chosen)] = query_spread
        leaves = {f"{self.prefix}query": (of_query, spread)}
        for name, gradient, of_heads in (
            ("key", gradients.key, key_spread),
            ("value", gradients.value, value_spread),
        ):
            summed = (_sum_of_groups(tensor, len(self.key)) for tensor in (gradient, of_heads))
            leaves[f"{self.prefix}{name}"] = (next(summed), next(summed))
        return leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A projection of hidden states, divided into heads.

    Attributes:
        weight: `(heads * width, hidden)`.
        bias: `(heads * width,)`; None for none.
        heads: the number of heads.
        rotation: cosines and sines of rotary position embeddings, `(seq_len, width)` each; None
            for none. Source: RoFormer, arXiv 2104.09864, section 3.2.2, with the pairs of features
            of transformers' `apply_rotary_pos_emb`.
    """

    weight: Tensor
    bias: Tensor | None
    heads: int
    rotation: tuple[Tensor, Tensor] | None = None

    def __call__(self, states: Tensor, positions: Tensor) -> Tensor:
        """Float64 `(heads, positions, width)` of states `(positions, hidden)`."""
        projected = states.double() @ self.weight.double().T
        if self.bias is not None:
            projected = projected + self.bias.double()
        of_heads = projected.unflatten(-1, (self.heads, -1)).transpose(0, 1)
        if self.rotation is None:
            return of_heads
        cos, sin = (tensor[positions].double() for tensor in self.rotation)
        return of_heads * cos + _quarter_turned(of_heads) * sin

    def gradient_of_input(self, gradient: Tensor, positions: Sequence[int]) -> Tensor:
        """`(positions, hidden)` from the gradient of the heads, `(heads, positions, width)`."""
        if self.rotation is not None:
            cos, sin = (tensor[list(positions)].double() for tensor in self.rotation)
            # The transpose of a quarter turn is its negative.
            gradient = gradient * cos - _quarter_turned(gradient * sin)
        return gradient.transpose(0, 1).flatten(1) @ self.weight.double()

    def spread_of_input(self, spread: Tensor) -> Tensor:
        """The spread `(positions,)` from that of the heads, `(heads, positions)`.

        Errors of a head's features are taken to be independent; each is multiplied with a row of
        the weights.
        """
        of_heads = self.weight.double().unflatten(0, (self.heads, -1))
        return of_heads.square().sum(-1).mean(-1) @ spread


class ProjectedHeads:
    """Queries, keys and values as projections of hidden states, the only leaf.

    Args:
        hidden_states: `(seq_len, hidden)`.
        projections: of `query`, `key` and `value`.
    """

    def __init__(self, hidden_states: Tensor, projections: Mapping[str, Projection]) -> None:
        self._hidden_states = hidden_states
        self._projections = projections

    def queries(self, positions: Tensor) -> Tensor:
        """Float64 `(heads, positions, head_dim)`."""
        return self._projections["query"](self._hidden_states[positions], positions)

    def keys(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of each query head, float64 `(heads, positions, width)`."""
        heads, states = self._projections["query"].heads, self._hidden_states[positions]
        key, value = (self._projections[name](states, positions) for name in ("key", "value"))
        return _of_query_heads(key, heads), _of_query_heads(value, heads)

    def of_leaves(
        self, gradients: Gradients, positions: Sequence[int], chosen: Sequence[int]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """The gradient of the hidden states, `(positions, hidden)`, and its spread."""
        query = self._projections["query"]
        query_spread, key_spread, value_spread = gradients.spreads
        total = torch.zeros_like(self._hidden_states[list(positions)], dtype=torch.float64)
        spread = total.new_zeros(len(positions))
        for name, gradient, of_heads in (
            ("key", gradients.key, key_spread),
            ("value", gradients.value, value_spread),
        ):
            projection = self._projections[name]
            summed = _sum_of_groups(gradient, projection.heads)
            total += projection.gradient_of_input(summed, positions)
            spread += projection.spread_of_input(_sum_of_groups(of_heads, projection.heads))
        rows = [positions[index] for index in chosen]
        total[list(chosen)] += query.gradient_of_input(gradients.query, rows)
        spread[list(chosen)] += query.spread_of_input(query_spread)
        return {"hidden_states": (total, spread)}


def _quarter_turned(heads: Tensor) -> Tensor:
    """Each pair of features (x, y), which are half a head apart, as (-y, x)."""
    first, second = heads.chunk(2, -1)
    return torch.cat((-second, first), -1)


def _of_query_heads(tensor: Tensor, heads: int) -> Tensor:
    """`(heads, ...)`: heads of keys or values, each repeated for the query heads that share it."""
    return tensor.repeat_interleave(heads // len(tensor), dim=0)


def _sum_of_groups(tensor: Tensor, kv_heads: int) -> Tensor:
    """`(kv_heads, ...)`: sums over the query heads that share keys and values."""
    return tensor.unflatten(0, (kv_heads, -1)).sum(1)
