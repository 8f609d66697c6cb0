"""Pairs that masks let through in 14 types of models, against masks enumerated by definition."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from window_models import HEADS, MODELS, MakeMask, W, causal, full

from attnprof import sliding_window_attention
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.counting.attention.calls import AttentionCalls
from attnprof.counting.attention.tracing import attention_calls
from attnprof.counting.call import Call
from attnprof.counting.declared_windows import DeclaredWindow, declared_windows
from attnprof.counting.fake_tensors import fake_mode, on_fake_tensors_alone
from attnprof.kernels import custom
from attnprof.measure.windows import layers_of

BATCH = 2
TOKENS = dict.fromkeys(MODELS, 45) | {"big_bird": 77}
"""Longer than every window and no multiple of it: BigBird's padded queries attend, and their
outputs are set to 0 afterwards."""

SPARSE = ("longformer", "led", "big_bird")

BIDIRECTIONAL = ("local_attention", "attention_window", "block_size")

RUNS = [
    pytest.param(name, implementation, id=f"{name}-{implementation}")
    for name, model in MODELS.items()
    for implementation in (*model.implementations, *(["flex_attention"] if model.has_flex else []))
]


def followed(
    name: str, implementation: str, folder: Path
) -> tuple[AttentionCalls, dict[str, DeclaredWindow]]:
    config = {**MODELS[name].config, "attn_implementation": implementation}
    (folder / "config.json").write_text(json.dumps(config))
    kernel = custom.find(str(folder))
    workload = Workload(AttentionPattern.dense(HEADS), TOKENS[name], 16, BATCH)

    def take(call: Call) -> tuple[AttentionCalls, dict[str, DeclaredWindow]]:
        found = attention_calls(call.run)
        return found, declared_windows(call.module, {c.module_path for c in found.calls})

    return on_fake_tensors_alone(lambda: kernel.build(workload), take, "its masks")


@pytest.mark.parametrize(("name", "implementation"), RUNS)
def test_pairs_are_those_of_the_definition(name: str, implementation: str, tmp_path: Path) -> None:
    model, n = MODELS[name], TOKENS[name]
    found, declared = followed(name, implementation, tmp_path)
    layers = {layer.layer: layer for layer in layers_of(found, declared, n)}
    expected = {path: BATCH * HEADS * int(make(n).sum()) for path, make in model.layers.items()}
    assert {path: layer.attended_pairs for path, layer in layers.items()} == expected
    assert not found.unrecognised
    for path, make in model.layers.items():
        layer = layers[path]
        assert layer.executed_pairs >= (layer.attended_pairs or 0)
        if make in (causal, full):
            assert (layer.declared, layer.mask) == ("", "causal" if make is causal else "full")
        else:
            assert (layer.declared, layer.declared_size) == (model.declared, W)
            assert (layer.mask, layer.hides_in(n)) == ("window", True)
            assert layer.is_dense == (name not in SPARSE) or implementation == "flex_attention"
    if implementation == model.implementations[0]:
        for path, window in declared.items():
            check_reach(name, model.layers[path], window)


def check_reach(name: str, make: MakeMask, window: DeclaredWindow) -> None:
    """A window hides nothing up to its reach, and something beyond."""
    dense = full if MODELS[name].declared in BIDIRECTIONAL else causal
    assert (make(window.reach) == dense(window.reach)).all() or name == "big_bird"
    assert not (make(window.reach + 1) == dense(window.reach + 1)).all()


@pytest.mark.parametrize("is_causal", [False, True], ids=["both sides", "causal"])
@pytest.mark.parametrize("positions", [(), (0, 3, 20)])
def test_pairs_of_attnprofs_banded_attention_are_those_of_its_pattern(
    positions: tuple[int, ...], is_causal: bool
) -> None:
    n, dilation = 45, (1, 2)
    pattern = AttentionPattern.sliding(W, dilation, positions, HEADS, causal=is_causal)

    def attend(x: torch.Tensor) -> torch.Tensor:
        heads = (x + 1).unflatten(2, (HEADS, 8)).transpose(1, 2)
        return sliding_window_attention(
            *(heads, heads, heads),
            window=W,
            dilation=dilation,
            global_positions=positions,
            causal=is_causal,
        )

    with fake_mode(), torch.no_grad():
        x = torch.ones(BATCH, n, 8 * HEADS)
        found = attention_calls(lambda: attend(x))
    assert found.attended_pairs == BATCH * int(pattern.mask(n).sum())
    assert "banded_attention" in {call.implementation for call in found.calls}
    assert not found.unrecognised
