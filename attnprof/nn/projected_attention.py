"""Self-attention with Longformer's projections, whatever computes the attention itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadShape:
    """Sizes of an attention.

    Attributes:
        hidden_size: width of the hidden states.
        num_heads: heads of queries.
        kv_heads: heads of keys and values, a divisor of `num_heads`.
        head_dim: width of a head of queries and keys.
        value_dim: width of a head of values.
    """

    hidden_size: int
    num_heads: int
    kv_heads: int
    head_dim: int
    value_dim: int


class ProjectedSelfAttention(nn.Module, ABC):
    """Query, key and value projections, and the rows of global tokens.

    Parameters have the names of transformers' `LongformerSelfAttention`; the `_global` ones exist
    only if there are global tokens.

    Args:
        shape: sizes of the attention.
        global_positions: positions of global tokens, which have separate projections for their
            queries and for the keys and values that these attend to.
    """

    global_positions: Tensor

    def __init__(self, shape: HeadShape, global_positions: Sequence[int] = ()) -> None:
        super().__init__()
        self.shape = shape
        self.has_globals = len(global_positions) > 0
        widths = (
            shape.num_heads * shape.head_dim,
            shape.kv_heads * shape.head_dim,
            shape.kv_heads * shape.value_dim,
        )
        for suffix in ("", "_global") if self.has_globals else ("",):
            for name, width in zip(("query", "key", "value"), widths, strict=True):
                self.add_module(f"{name}{suffix}", nn.Linear(shape.hidden_size, width))
        positions = torch.tensor(tuple(global_positions), dtype=torch.int64)
        self.register_buffer("global_positions", positions, persistent=False)

    @abstractmethod
    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention under the pattern, without the rows of global tokens.

        Args:
            query: `(batch, num_heads, seq_len, head_dim)`.
            key: `(batch, kv_heads, seq_len, head_dim)`.
            value: `(batch, kv_heads, seq_len, value_dim)`.

        Returns:
            `(batch, num_heads, seq_len, value_dim)`.
        """

    def forward(self, hidden_states: Tensor) -> Tensor:
        """`(batch, seq_len, hidden)` to `(batch, seq_len, num_heads * value_dim)`."""
        output = self.attend(*self._project(hidden_states, hidden_states, ""))
        output = output.transpose(1, 2).flatten(2)
        if not self.has_globals:
            return output
        return output.index_copy(1, self.global_positions, self._global_rows(hidden_states))

    def _global_rows(self, hidden_states: Tensor) -> Tensor:
        """The output of global tokens, `(batch, global tokens, num_heads * value_dim)`."""
        heads = self._project(hidden_states[:, self.global_positions], hidden_states, "_global")
        rows = scaled_dot_product_attention(*heads, enable_gqa=self.is_grouped)
        return rows.transpose(1, 2).flatten(2)

    @property
    def is_grouped(self) -> bool:
        """Whether several query heads share keys and values."""
        return self.shape.kv_heads < self.shape.num_heads

    def _project(
        self, of_queries: Tensor, of_keys: Tensor, suffix: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Heads `(batch, heads, tokens, width)` of queries, keys and values."""
        query, key, value = (
            self.get_submodule(f"{name}{suffix}") for name in ("query", "key", "value")
        )
        return (
            _heads(query(of_queries), self.shape.num_heads),
            _heads(key(of_keys), self.shape.kv_heads),
            _heads(value(of_keys), self.shape.kv_heads),
        )


def _heads(projected: Tensor, heads: int) -> Tensor:
    return projected.unflatten(-1, (heads, -1)).transpose(1, 2)
