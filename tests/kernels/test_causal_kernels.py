"""Causal BERT and Mistral: what they multiply, and the masks, as transformers' models have them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, MistralConfig, MistralModel
from workloads import CAUSAL, HEADS, MODES, describe, sliding

from attnprof import AttentionPattern, AttentionStack, Workload, kernels
from attnprof.counting.fake_tensors import fake_mode
from attnprof.counting.operator_counts import count_operators
from attnprof.kernels.builtin._causal_masks import Implementation, causal_mask, is_fused_causal
from attnprof.nn.mistral import MistralSelfAttention, position_embeddings

IMPLEMENTATIONS: tuple[Implementation, ...] = ("eager", "sdpa")
TOKENS = 12

each_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)


def mask_of(model: torch.nn.Module, attention: torch.nn.Module) -> torch.Tensor | None:
    """The mask that a model passes to an attention module."""
    masks: list[torch.Tensor | None] = []

    def keep(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        masks.append(kwargs["attention_mask"] if "attention_mask" in kwargs else args[1])

    attention.register_forward_pre_hook(keep, with_kwargs=True)
    with torch.no_grad():
        model(inputs_embeds=torch.randn(2, TOKENS, 16))
    return masks[0]


def same(ours: torch.Tensor | None, theirs: torch.Tensor | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return ours.dtype == theirs.dtype and torch.equal(ours, theirs)


@each_implementation
@pytest.mark.parametrize("window", [None, 1, 5, TOKENS, TOKENS + 1])
def test_masks_are_those_of_the_mistral_model(
    implementation: Implementation, window: int | None
) -> None:
    config = MistralConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=HEADS,
        num_key_value_heads=2, vocab_size=8, sliding_window=window,
    )  # fmt: skip
    config._attn_implementation = implementation
    model = MistralModel(config).eval()
    pattern = CAUSAL if window is None else sliding(window, causal=True)
    workload = Workload(pattern, TOKENS, 16, batch_size=2, kv_heads=2)
    mask = causal_mask(workload, pattern, implementation)
    assert same(mask, mask_of(model, model.layers[0].self_attn))
    if implementation == "sdpa":
        assert is_fused_causal(workload, pattern) == (mask is None)


@each_implementation
def test_mask_is_that_of_bert_as_a_decoder(implementation: Implementation) -> None:
    config = BertConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=HEADS,
        vocab_size=8, is_decoder=True,
    )  # fmt: skip
    config._attn_implementation = implementation
    model = BertModel(config, add_pooling_layer=False).eval()
    attention = model.encoder.layer[0].attention.self
    assert attention.is_causal
    mask = causal_mask(Workload(CAUSAL, TOKENS, 16, batch_size=2), CAUSAL, implementation)
    assert same(mask, mask_of(model, attention))


@each_implementation
def test_attention_is_mistrals_but_for_the_output_projection(
    implementation: Implementation,
) -> None:
    config = MistralConfig(
        hidden_size=24, intermediate_size=16, num_hidden_layers=1, num_attention_heads=HEADS,
        num_key_value_heads=2, head_dim=8, vocab_size=8, sliding_window=5,
    )  # fmt: skip
    config._attn_implementation = implementation
    original = MistralModel(config).layers[0].self_attn.eval()
    pattern = sliding(5, causal=True)
    workload = Workload(pattern, TOKENS, 24, kv_heads=2, head_dim=8)
    mask = causal_mask(workload, pattern, implementation)
    ours = MistralSelfAttention(config, mask).eval()
    ours.load_state_dict(original.state_dict(), strict=False)
    hidden, rotation = torch.randn(1, TOKENS, 24), position_embeddings(config, TOKENS)
    with torch.no_grad():
        expected = original(hidden, rotation, mask)[0]
        projected = original.o_proj(ours(hidden, rotation))
    assert torch.equal(projected, expected)


LONG = 1300
"""More than two blocks of keys, so that the fused operator skips some."""


LONG_CALLS = [
    Workload(pattern, LONG, 64, batch_size=2, mode=mode, **widths)
    for pattern, widths in (
        (CAUSAL, {}),
        (CAUSAL, {"kv_heads": 2, "head_dim": 20}),
        (sliding(LONG + 1, causal=True), {"kv_heads": 1}),
        (AttentionStack(layers=(sliding(600, causal=True), CAUSAL, CAUSAL)), {"kv_heads": 2}),
    )
    for mode in MODES
]


@pytest.mark.parametrize(
    ("name", "workload"),
    [
        pytest.param(name, workload, id=f"{name}_{describe(workload)}")
        for name in ("bert-eager", "bert-sdpa", "mistral-eager", "mistral-sdpa")
        for workload in LONG_CALLS
        if kernels.find(name).unsupported_reason(workload) is None
    ],
)
def test_executed_macs_of_longer_causal_calls_equal_the_operators(
    name: str, workload: Workload
) -> None:
    kernel = kernels.find(name)
    with fake_mode():
        counted = count_operators(kernel.build(workload).run).complete_macs
    assert kernel.executed_macs(workload) == counted


@pytest.mark.parametrize(
    ("workload", "reason"),
    [
        (Workload(AttentionPattern.dense(HEADS), 40, 64), "is causal; add --causal"),
        (Workload(sliding(8, dilation=2, causal=True), 40, 64), "no dilation"),
        (Workload(sliding(8, positions=(0,), causal=True), 40, 64), "no attention sinks"),
        (Workload(CAUSAL, 40, 64, value_dim=8), "values as wide as keys"),
        (Workload(CAUSAL, 40, 60), "head_dim 15 is odd"),
        (Workload(AttentionStack(layers=(CAUSAL,) * 2), 40, 64, head_dim=20), "whole layers"),
    ],
)
@each_implementation
def test_mistral_says_what_it_has_not(implementation: str, workload: Workload, reason: str) -> None:
    message = kernels.find(f"mistral-{implementation}").unsupported_reason(workload)
    assert message is not None
    assert reason in message
