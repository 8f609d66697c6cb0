"""Layers that run one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


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
