"""A whole encoder layer around any self-attention, as BERT and Longformer draw it.

Source: transformers, models/bert/modeling_bert.py, class BertLayer; LongformerLayer, in
models/longformer/modeling_longformer.py, is the same around another attention.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

_EPSILON = 1e-12
"""Of the layer norms, as in the configs of both models."""


class EncoderLayer(nn.Module):
    """Attention, output projection and feed-forward, a residual and a layer norm after each half.

    Its modules hold what those of transformers' `BertLayer` hold: `attention` is its
    `attention.self`, `attention_output` its `attention.output`, and `intermediate` and `output` are
    called as there. There is no dropout.

    Args:
        attention: a module that takes `hidden_states` `(batch, seq_len, hidden)` and returns a
            tensor of that shape, alone or first in a tuple.
        hidden_size: width of the layer.
        intermediate_size: width of the feed-forward.
    """

    def __init__(self, attention: nn.Module, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.attention = attention
        self.attention_output = ResidualOutput(hidden_size, hidden_size)
        self.intermediate = Intermediate(hidden_size, intermediate_size)
        self.output = ResidualOutput(intermediate_size, hidden_size)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """The layer, `(batch, seq_len, hidden)` to the same shape; `kwargs` go to the attention."""
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
    """A projection to the layer's width, what it is added to, and the layer norm of the sum."""

    def __init__(self, width: int, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=_EPSILON)

    def forward(self, hidden_states: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """`(batch, seq_len, width)` and the residual's shape to `(batch, seq_len, hidden)`."""
        return self.LayerNorm(self.dense(hidden_states) + residual)


class LayerStack(nn.Module):
    """Layers in sequence: each reads what the one below it wrote.

    Args:
        layers: modules that take `hidden_states` `(batch, seq_len, hidden)` and return a tensor of
            that shape, alone or first in a tuple.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """All layers, bottom first; `kwargs` go to each of them."""
        for layer in self.layers:
            hidden_states = only_output(layer(hidden_states, **kwargs))
        return hidden_states


def only_output(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """What attention wrote; the weights beside it are let go before what comes next runs."""
    return output[0] if isinstance(output, tuple) else output
