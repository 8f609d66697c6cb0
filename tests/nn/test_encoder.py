"""Encoder layers against those of transformers, with the same weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, LongformerConfig
from transformers.models.bert.modeling_bert import BertLayer
from transformers.models.longformer.modeling_longformer import LongformerLayer
from workloads import HEADS, HIDDEN, sliding

from attnprof import AttentionPattern, AttentionStack, Workload, kernels

SHAPE = {
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "intermediate_size": 4 * HIDDEN,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def with_weights_of(layer: nn.Module, theirs: nn.Module) -> nn.Module:
    """`theirs` with the weights of ours, by transformers' names; none is missing or left over."""
    names = {"attention_output.": "attention.output.", "attention.": "attention.self."}
    weights: dict[str, torch.Tensor] = {}
    for name, value in layer.state_dict().items():
        ours = next((prefix for prefix in names if name.startswith(prefix)), "")
        weights[names.get(ours, "") + name.removeprefix(ours)] = value
    theirs.load_state_dict(weights)
    return theirs.eval()


def first_output(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("layers", [1, 2])
def test_with_berts_attention_the_layer_is_berts(implementation: str, layers: int) -> None:
    pattern = AttentionStack(layers=(AttentionPattern.dense(HEADS),) * layers)
    workload = Workload(pattern, 40, HIDDEN, batch_size=2, scope="layer")
    call = kernels.find(f"bert-{implementation}").build(workload)
    config = BertConfig(**SHAPE)
    config._attn_implementation = implementation
    expected = call.kwargs["hidden_states"]
    for layer in call.module.layers if layers > 1 else [call.module]:
        with torch.no_grad():
            expected = first_output(with_weights_of(layer, BertLayer(config))(expected))
    torch.testing.assert_close(call.run(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("positions", [(), (0, 5)])
def test_with_longformers_attention_the_layer_is_longformers(positions: tuple[int, ...]) -> None:
    workload = Workload(sliding(16, positions=positions), 40, HIDDEN, batch_size=2, scope="layer")
    call = kernels.find("longformer-hf").build(workload)
    config = LongformerConfig(**SHAPE, num_hidden_layers=1, attention_window=[16])
    theirs = with_weights_of(call.module, LongformerLayer(config))
    with torch.no_grad():
        expected = first_output(theirs(**call.kwargs))
    torch.testing.assert_close(call.run(), expected, rtol=0, atol=1e-5)


def test_the_attention_of_a_layer_has_the_state_dict_of_the_attention_alone() -> None:
    workload = Workload(sliding(16, positions=(0,)), 40, HIDDEN)
    alone = kernels.find("longformer-banded").build(workload)
    whole = kernels.find("longformer-banded").build(replace(workload, scope="layer"))
    assert dict(whole.module.named_children())["attention"].state_dict().keys() == (
        alone.module.state_dict().keys()
    )
