"""A complete encoder layer around any self-attention, as in BERT and Longformer.

Source: transformers, models/bert/modeling_bert.py, class BertLayer; LongformerLayer, in
models/longformer/modeling_longformer.py, is the same with another attention.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

_EPSILON = 1e-12
"""Epsilon of the layer norms, the default of both models' configs."""


class EncoderLayer(nn.Module):
    """Attention, output projection and feed-forward, a residual and a layer norm after each half.

    The submodules correspond to those of transformers' `BertLayer`: `attention` to its
    `attention.self`, `attention_output` to its `attention.output`; `intermediate` and `output` have
    the same names. There is no dropout.

    Args:
        attention: a module that takes `hidden_states` `(batch, seq_len, hidden)` and returns a
            tensor `(batch, seq_len, attention_width)`, alone or first in a tuple.
        hidden_size: width of the layer.
        intermediate_size: width of the feed-forward.
        attention_width: width of the attention's output; `hidden_size` if None.
    """

    def __init__(
        self,
        attention: nn.Module,
        hidden_size: int,
        intermediate_size: int,
        attention_width: int | None = None,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.attention_output = ResidualOutput(attention_width or hidden_size, hidden_size)
        self.intermediate = Intermediate(hidden_size, intermediate_size)
        self.output = ResidualOutput(intermediate_size, hidden_size)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """`(batch, seq_len, hidden)` to the same shape; `kwargs` are passed to the attention."""
        attended = self.attention_output(
            only_output(self.attention(hidden_states, **kwargs)), hidden_states
        )
        return self.output(self.intermediate(attended), attended)


class Intermediate(nn.Module):
    """The first half of the feed-forward: a projection to its width, and GELU."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, intermediate_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`(batch, seq_len, hidden)` to `(batch, seq_len, intermediate)`."""
        return nn.functional.gelu(self.dense(hidden_states))


class ResidualOutput(nn.Module):
    """A projection to the layer's width, added to a residual, and the layer norm of the sum."""

    def __init__(self, width: int, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=_EPSILON)

    def forward(self, hidden_states: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """`(batch, seq_len, width)` and a residual `(batch, seq_len, hidden)` to the latter."""
        return self.LayerNorm(self.dense(hidden_states) + residual)


class LayerStack(nn.Module):
    """Layers in sequence: the output of each is the input of the next.

    Args:
        layers: modules that take `hidden_states` `(batch, seq_len, hidden)` and return a tensor of
            that shape, alone or first in a tuple.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """`(batch, seq_len, hidden)` to the same shape; `kwargs` are passed to every layer."""
        for layer in self.layers:
            hidden_states = only_output(layer(hidden_states, **kwargs))
        return hidden_states


def only_output(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The first element of a tuple, or the tensor; attention weights beside it are released."""
    return output[0] if isinstance(output, tuple) else output
