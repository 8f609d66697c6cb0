"""Vision and audio models of transformers: the count on fake tensors against a real run.

    python examples/benchmarks/survey_towers.py
    python examples/benchmarks/survey_towers.py vit whisper

Each model is built from a tiny config. `TOWERS` describes its inputs in the syntax of `--input`;
those that are not described are inferred. A model is exact if both counts are the same.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import attnprof
from attnprof import AttentionPattern, Workload, kernels
from attnprof.counting.operator_counts import count_operators
from attnprof.kernels import custom

LENGTH = 48
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
IMAGE: dict[str, Any] = {**SIZES, "image_size": 32, "patch_size": 8}
TEXT: dict[str, Any] = {**SIZES, "vocab_size": 99, "max_position_embeddings": 64}
SOUND: dict[str, Any] = {
    **SIZES,
    "vocab_size": 32,
    "conv_dim": [32, 32],
    "conv_kernel": [10, 3],
    "conv_stride": [5, 2],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
STAGES: dict[str, Any] = {"image_size": 64, "patch_size": 4, "embed_dim": 32}
SEQ_TO_SEQ: dict[str, Any] = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "vocab_size": 99,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
PIXELS = "pixel_values=batch,3,32,32"
WAVES = "input_values=batch,len*80"

TOWERS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "vit": (IMAGE, (PIXELS,)),
    "deit": (IMAGE, (PIXELS,)),
    "beit": (IMAGE, (PIXELS,)),
    "dinov2": (IMAGE, (PIXELS,)),
    "vit_mae": (IMAGE, (PIXELS,)),
    "data2vec-vision": (IMAGE, (PIXELS,)),
    "clip_vision_model": (IMAGE, (PIXELS,)),
    "siglip_vision_model": (IMAGE, (PIXELS,)),
    "clip": (
        {"projection_dim": 32, "text_config": TEXT, "vision_config": IMAGE},
        (PIXELS,),
    ),
    "siglip": ({"text_config": TEXT, "vision_config": IMAGE}, (PIXELS,)),
    "swin": (
        {**STAGES, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4},
        ("pixel_values=batch,3,64,64",),
    ),
    "swinv2": (
        {**STAGES, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4},
        ("pixel_values=batch,3,64,64",),
    ),
    "convnext": ({"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2}, (PIXELS,)),
    "segformer": (
        {
            "num_encoder_blocks": 2,
            "depths": [1, 1],
            "sr_ratios": [4, 2],
            "hidden_sizes": [16, 32],
            "patch_sizes": [7, 3],
            "strides": [4, 2],
            "num_attention_heads": [1, 2],
            "mlp_ratios": [2, 2],
        },
        ("pixel_values=batch,3,64,64",),
    ),
    "videomae": (
        {**IMAGE, "num_frames": 4, "tubelet_size": 2},
        ("pixel_values=batch,4,3,32,32",),
    ),
    "vivit": (
        {**IMAGE, "num_frames": 4, "tubelet_size": [2, 8, 8]},
        ("pixel_values=batch,4,3,32,32",),
    ),
    "audio-spectrogram-transformer": (
        {**SIZES, "patch_size": 8, "num_mel_bins": 32, "max_length": 64},
        ("input_values=batch,64,32",),
    ),
    "wav2vec2": (SOUND, (WAVES,)),
    "hubert": (SOUND, (WAVES,)),
    "wavlm": (SOUND, (WAVES,)),
    "unispeech": (SOUND, (WAVES,)),
    "whisper": (
        {**SEQ_TO_SEQ, "num_mel_bins": 80, "max_source_positions": LENGTH // 2},
        ("input_features=batch,80,len",),
    ),
    "speech_to_text": (
        {**SEQ_TO_SEQ, "input_feat_per_channel": 80, "max_source_positions": 64},
        ("input_features=batch,len,80",),
    ),
}
"""By type of model: the values of its config, and the description of its inputs."""


def survey(kind: str, folder: Path) -> str:
    """For each mode, whether both counts are the same, and the predicted peak."""
    values, inputs = TOWERS[kind]
    path = folder / f"{kind}.json"
    path.write_text(json.dumps({"model_type": kind, **values}), encoding="utf-8")
    name = custom.with_inputs(str(path), inputs)
    verdicts: list[str] = []
    for mode in ("inference", "training"):
        try:
            kernel = kernels.find(name)
            workload = Workload(AttentionPattern.dense(4), LENGTH, hidden_size=64, mode=mode)
            reason = kernel.unsupported_reason(workload)
            if reason:
                verdicts.append(reason)
                continue
            counted = kernel.executed_macs(workload)
            real = count_operators(kernel.build(workload).run).complete_macs
            verdict = "exact" if counted == real else f"WRONG, {real:,} in a real run"
            verdicts.append(f"{counted:,} MACs, {verdict}, peak {kernel.peak_bytes(workload):,} B")
        except attnprof.core.errors.AttnprofError as error:
            verdicts.append(str(error).replace(str(folder), "")[:200])
        except Exception as error:
            verdicts.append(f"CRASH {type(error).__name__}: {str(error)[:200]}")
    return " | ".join(verdicts)


def main(kinds: list[str]) -> None:
    """Print a line for each model."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds or TOWERS:
            print(f"{kind:32}{survey(kind, Path(folder))}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
