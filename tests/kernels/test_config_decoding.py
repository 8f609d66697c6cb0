"""Transformers configs that decode with the cache that the model fills itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from attnprof import AttentionPattern, AttentionStack, Workload, kernels
from attnprof.core.cache_size import cache_bytes
from attnprof.counting.operator_counts import count_operators
from attnprof.kernels.custom.hf_config import ConfigTarget

SIZES = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "vocab_size": 50,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "mistral": {**SIZES, "model_type": "mistral", "sliding_window": 8},
    "gemma3": {
        **SIZES,
        "model_type": "gemma3_text",
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "llama": {**SIZES, "model_type": "llama"},
}
LAYERS = {
    "mistral": (8, 8),
    "gemma3": (8, None),
    "llama": (None, None),
}
"""The window of each layer; None if it is dense."""


def target_of(folder: Path, config: dict[str, Any]) -> ConfigTarget:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    kernel = kernels.find(str(path))
    assert isinstance(kernel, ConfigTarget)
    return kernel


def decoded(kernel: ConfigTarget, seq_len: int = 40, new_tokens: int = 1) -> Workload:
    one = Workload(AttentionPattern.dense(4, causal=True), seq_len, 32, mode="decode")
    return kernel.adapt_workload(replace(one, new_tokens=new_tokens))


def needed(name: str, workload: Workload) -> Workload:
    """The same call with the patterns that the config declares."""
    layers = tuple(
        AttentionPattern.dense(4, causal=True)
        if window is None
        else AttentionPattern.sliding(window, num_heads=4, causal=True)
        for window in LAYERS[name]
    )
    return replace(workload, pattern=AttentionStack(layers=layers))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("new_tokens", [1, 3])
def test_macs_on_fake_tensors_are_those_of_a_real_call(
    tmp_path: Path, name: str, new_tokens: int
) -> None:
    kernel = target_of(tmp_path, CONFIGS[name])
    workload = decoded(kernel, new_tokens=new_tokens)
    call = kernel.build(workload)
    assert kernel.executed_macs(workload) == count_operators(call.run).macs
    assert call.run().shape[1] == new_tokens


@pytest.mark.parametrize("name", CONFIGS)
def test_a_cache_after_one_new_token_has_what_the_declared_windows_need(
    tmp_path: Path, name: str
) -> None:
    kernel = target_of(tmp_path, CONFIGS[name])
    workload = decoded(kernel)
    expected = cache_bytes(needed(name, workload))
    assert kernel.cache_bytes(workload) == expected
    (note,) = [note for note in kernel.notes(workload) if note.startswith("cache")]
    assert note.count("KiB") == 2, "dynamic and static cache"


def test_calls_repeat_at_the_same_context(tmp_path: Path) -> None:
    kernel = target_of(tmp_path, CONFIGS["gemma3"])
    call = kernel.build(decoded(kernel))
    assert torch.equal(call.run(), call.run())


def test_decoding_gives_the_last_rows_of_the_whole_sequence(tmp_path: Path) -> None:
    kernel = target_of(tmp_path, CONFIGS["mistral"])
    call = kernel.build(decoded(kernel, 20, 3))
    with torch.no_grad():
        torch.manual_seed(0)
        ids = torch.randint(0, 50, (1, 20))
        whole = call.module(input_ids=ids, use_cache=False)[0]
        cache = call.module(input_ids=ids[:, :17], use_cache=True)
        name = next(key for key in ("cache", "past_key_values") if key in cache)
        rest = call.module(input_ids=ids[:, 17:], **{name: cache[name]})[0]
    assert torch.allclose(rest, whole[:, 17:], atol=1e-5)


def test_a_part_decodes_with_its_own_layer_of_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIGS["mistral"]))
    kernel = kernels.find(f"{path}::layers.1.self_attn")
    assert isinstance(kernel, ConfigTarget)
    projections = 32 * 8 * (4 + 2 + 2 + 4)
    assert kernel.executed_macs(decoded(kernel)) == projections + 2 * 4 * 8 * 8


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            {**SIZES, "model_type": "bert", "num_key_value_heads": 4, "head_dim": None},
            "has no cache",
        ),
        (
            {"model_type": "t5", "d_model": 32, "num_heads": 4, "num_layers": 2, "vocab_size": 50},
            "encoder-decoder",
        ),
    ],
    ids=["encoder", "encoder-decoder"],
)
def test_what_cannot_decode_says_why(tmp_path: Path, config: dict[str, Any], reason: str) -> None:
    kernel = target_of(tmp_path, {k: v for k, v in config.items() if v is not None})
    message = kernel.unsupported_reason(decoded(kernel))
    assert message is not None
    assert reason in message


def test_a_python_object_does_not_decode() -> None:
    from attnprof.kernels.custom.objects import name_of

    kernel = kernels.find(name_of(nn.Linear(32, 32)))
    workload = Workload(AttentionPattern.dense(4, causal=True), 40, 32, mode="decode")
    message = kernel.unsupported_reason(workload)
    assert message is not None
    assert "cannot decode" in message
