"""Small Longformer configs, and how much outputs may differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    LongformerConfig,
)

WINDOWS = (8, 16)

SAME = 1e-5
"""Tolerance in float32. In float64 transformers' layer computes the softmax in float32 as well, and
its gradient is NaN if the window of a padded token has only padded tokens."""

SAME_GRADIENTS = 3 * SAME
"""Tolerance for gradients in float32: they are sums over all tokens, whose roundings add up. Those
of key biases are 0 but for rounding."""


def config(**changes: Any) -> LongformerConfig:
    return LongformerConfig(
        **{
            "vocab_size": 50,
            "hidden_size": 48,
            "num_hidden_layers": len(WINDOWS),
            "num_attention_heads": 4,
            "intermediate_size": 40,
            "max_position_embeddings": 200,
            "attention_window": list(WINDOWS),
            "attention_probs_dropout_prob": 0.0,
            "hidden_dropout_prob": 0.0,
            "pad_token_id": 1,
            "sep_token_id": 2,
            "initializer_range": 0.2,
        }
        | changes
    )


def error(ours: Tensor, theirs: Tensor) -> float:
    difference = ours.detach().double() - theirs.detach().double()
    return float(difference.abs().max() / theirs.detach().abs().max().clamp(min=1.0))


def gradients(output: Tensor, hidden: Tensor, layer: nn.Module) -> Iterator[Tensor]:
    """Gradients of the input and of every parameter; 0 for those that were not used."""
    sources = [hidden, *layer.parameters()]
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output.dtype)
    of_sources = torch.autograd.grad(output, sources, weights, allow_unused=True)
    for source, gradient in zip(sources, of_sources, strict=True):
        yield torch.zeros_like(source) if gradient is None else gradient
