"""Which parts of a Hugging Face config are counted, and which are left out with a note."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from estimate_in_process import estimate
from workloads import HEADS, HIDDEN

from attnprof import AttentionPattern, Workload
from attnprof.kernels import custom

FEED_FORWARD, LAYERS, VOCABULARY = 128, 2, 100
_LAYER = 4 * HIDDEN**2 + 2 * HIDDEN * FEED_FORWARD
_SIZES: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": FEED_FORWARD,
    "vocab_size": VOCABULARY,
}
_SPECIAL_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def _config(tmp_path: Path, **values: Any) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return str(path)


_LLAMA = {"model_type": "llama", **_SIZES}


def test_a_head_that_is_left_out_is_noted(tmp_path: Path) -> None:
    name = _config(tmp_path, **_LLAMA, architectures=["LlamaForCausalLM"])
    (row,) = estimate(kernel=name, len=32).rows
    assert row.detail == (
        "counted as LlamaModel: what LlamaForCausalLM has on top, such as its head, is left out"
    )
    (part,) = estimate(kernel=f"{name}::layers.0.mlp", len=32).rows
    assert part.detail == ""


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_transformers_attention_implementations_are_used_and_others_left_out(
    tmp_path: Path, key: str
) -> None:
    """Eager attention holds its scores and probabilities, fused attention neither."""
    peaks: dict[str, int] = {}
    workload = Workload(AttentionPattern.dense(HEADS), 256, hidden_size=HIDDEN)
    for value in ("", "eager", "sdpa", "flex_attention", "kernels-community/flash-attn"):
        folder = tmp_path / (value.replace("/", "-") or "none")
        folder.mkdir()
        name = _config(folder, **_LLAMA, **({key: value} if value else {}))
        target = custom.find(name)
        if value != "flex_attention":  # the buffers of its compiled kernel are not known
            peaks[value] = target.peak_bytes(workload)
        module = target.build(workload).module
        chosen = module.config._attn_implementation
        assert chosen == ("sdpa" if "/" in value or not value else value)
        notes = " ".join(target.notes(workload))
        assert ("is left out" in notes) == ("/" in value)
    assert peaks[""] == peaks["sdpa"] == peaks["kernels-community/flash-attn"]
    assert peaks["eager"] >= 2 * HEADS * 256**2 * 4 > peaks["sdpa"]


def test_positions_belong_to_the_part_that_takes_the_input(tmp_path: Path) -> None:
    """An image of 16 patches and its class has 17 positions, 400 frames of sound have 200."""
    layers = {**_SIZES, "max_position_embeddings": 77}
    vision = {**_SIZES, "image_size": 32, "patch_size": 8}
    name = _config(
        tmp_path, model_type="clip", projection_dim=32, text_config=layers, vision_config=vision
    )
    clip = f"{name}(pixel_values=batch,3,32,32)"
    fits, too_long = estimate(kernel=clip, len=[64, 78]).rows
    tower = lambda n: LAYERS * (n * _LAYER + 2 * n * n * HIDDEN)  # noqa: E731
    projected = 16 * 3 * 8 * 8 * HIDDEN + 2 * HIDDEN * 32 + 32  # patches, both ends, their product
    assert fits.integer("executed_macs") == tower(64) + tower(17) + projected
    assert too_long.status == "unsupported"
    assert "positions for 77 tokens" in too_long.detail


def test_frames_of_sound_are_not_positions_of_the_decoder(tmp_path: Path) -> None:
    name = _config(
        tmp_path,
        model_type="whisper",
        d_model=HIDDEN,
        num_mel_bins=80,
        max_source_positions=200,
        max_target_positions=50,
        vocab_size=VOCABULARY,
        **{f"{part}_layers": LAYERS for part in ("encoder", "decoder")},
        **{f"{part}_attention_heads": HEADS for part in ("encoder", "decoder")},
        **{f"{part}_ffn_dim": FEED_FORWARD for part in ("encoder", "decoder")},
        **_SPECIAL_TOKENS,
        decoder_start_token_id=1,
    )
    sound = "input_features=batch,80,len"
    text = "decoder_input_ids=batch,40:int64<99"
    (row,) = estimate(kernel=f"{name}({sound};{text})", len=400).rows
    convolutions = (400 * 80 + 200 * HIDDEN) * 3 * HIDDEN
    encoder = 200 * _LAYER + 2 * 200**2 * HIDDEN
    crossing = 2 * (40 + 200) * HIDDEN**2 + 2 * 40 * 200 * HIDDEN
    decoder = 40 * _LAYER + 2 * 40**2 * HIDDEN + crossing
    assert row.integer("executed_macs") == convolutions + LAYERS * (encoder + decoder)
    (too_long,) = estimate(kernel=f"{name}({sound})", len=400).rows
    assert "positions for 50 tokens" in too_long.detail


def _in_both_modes(kernel: str, seq_len: int) -> list[int | None]:
    rows = (
        estimate(kernel=kernel, len=seq_len, mode=mode).rows[0]
        for mode in ("inference", "training")
    )
    return [row.integer("executed_macs") for row in rows]


def test_an_image_requires_no_gradient_in_training(tmp_path: Path) -> None:
    """By formula: the patch embedding computes only the gradient of its weights."""
    name = _config(tmp_path, model_type="vit", **_SIZES, image_size=32, patch_size=8)
    forward, training = _in_both_modes(f"{name}(pixel_values=batch,3,32,32)", 16)
    patches, pooler = 16 * 3 * 8 * 8 * HIDDEN, HIDDEN**2
    assert forward == patches + pooler + LAYERS * (17 * _LAYER + 2 * 17**2 * HIDDEN)
    # Fused attention's backward has five products, not four; the pooler has no backward pass.
    recomputed = LAYERS * 17**2 * HIDDEN
    assert training == 3 * forward - patches - 2 * pooler + recomputed


def test_a_model_of_sound_can_be_trained(tmp_path: Path) -> None:
    """It calls `requires_grad_` on its input, which must therefore be a leaf."""
    sound = {"conv_dim": [32], "conv_kernel": [10], "conv_stride": [5], "layerdrop": 0.0}
    positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    name = _config(
        tmp_path,
        model_type="wav2vec2",
        **{**_SIZES, **sound, **positions, "num_feat_extract_layers": 1},
    )
    forward, training = _in_both_modes(f"{name}(input_values=batch,len*5)", 41)
    assert forward is not None
    assert training is not None
    assert training >= 3 * forward
