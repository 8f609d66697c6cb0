"""Models of kinds that are hard to count, by hand or against a real run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from attnprof import AttentionPattern, Workload
from attnprof.core.errors import MeasurementError
from attnprof.counting.fake_tensors import fake_mode
from attnprof.counting.operator_counts import count_operators
from attnprof.kernels import custom
from attnprof.kernels.custom.target import Target
from attnprof.measure.peak_memory import measure_peak_bytes

WIDTH, HEADS, LAYERS, FEED_FORWARD = 64, 4, 2, 128
_LAYERED = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
_SMALL: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": FEED_FORWARD,
    "vocab_size": 99,
    "max_position_embeddings": 2048,
    **_LAYERED,
}
_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_BART: dict[str, Any] = {
    "d_model": WIDTH,
    "vocab_size": 99,
    "max_position_embeddings": 2048,
    **dict.fromkeys(("encoder_layers", "decoder_layers"), LAYERS),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), HEADS),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), FEED_FORWARD),
}
_MIXTRAL = {
    **_SMALL,
    **_TOKENS,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "sliding_window": None,
}
_MAMBA2 = {
    "hidden_size": WIDTH,
    "num_heads": 4,
    "head_dim": 32,
    "n_groups": 2,
    "state_size": 16,
    "num_hidden_layers": LAYERS,
    "vocab_size": 99,
    "chunk_size": 32,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "biogpt": {**_SMALL, "pad_token_id": 1},
    "bart": _BART,
    "nystromformer": {**_SMALL, "num_landmarks": 16, "segment_means_seq_len": 512},
    "mixtral": _MIXTRAL,
    "deberta-v2": {
        **_SMALL,
        "relative_attention": True,
        "position_buckets": 32,
        "pos_att_type": ["p2c", "c2p"],
    },
    "mamba2": _MAMBA2,
    "fnet": _SMALL,
    "jetmoe": {**_MIXTRAL, "kv_channels": 16, "num_key_value_heads": 2},
}


def target_of(kind: str, tmp_path: Path) -> Target:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**CONFIGS[kind], "model_type": kind}))
    target = custom.find(str(path))
    assert isinstance(target, Target)
    return target


def workload(n: int, **other: Any) -> Workload:
    return Workload(AttentionPattern.dense(HEADS), n, hidden_size=WIDTH, **other)


def _blocks(n: int) -> int:
    """Pairs of 256 queries each and the blocks of 512 keys that they attend to."""
    pairs = 0
    for first in range(0, n, 256):
        last = min(first + 256, n)
        pairs += (last - first) * min(n, -(-last // 512) * 512)
    return pairs


def _feed_forward(n: int) -> int:
    return 2 * n * WIDTH * FEED_FORWARD


def test_a_mask_that_hides_nothing_is_dropped_as_in_a_real_run(tmp_path: Path) -> None:
    n, target = 1100, target_of("biogpt", tmp_path)
    layer = 4 * n * WIDTH**2 + 2 * _blocks(n) * WIDTH + _feed_forward(n)
    assert target.executed_macs(workload(n)) == LAYERS * layer == 294_817_792
    measured = measure_peak_bytes(target.build(workload(n)).run, "cpu")
    assert target.peak_bytes(workload(n)) == pytest.approx(measured, rel=0.002)


def test_landmarks_take_a_mask_of_one_row_or_none(tmp_path: Path) -> None:
    n, landmarks = 512, 16
    between = 5 * n * landmarks * WIDTH + landmarks**2 * WIDTH
    inverse = 6 * 4 * HEADS * landmarks**3
    convolution = n * WIDTH * 65
    layer = 4 * n * WIDTH**2 + between + inverse + convolution + _feed_forward(n)
    target = target_of("nystromformer", tmp_path)
    assert target.executed_macs(workload(n)) == LAYERS * layer == 43_876_352
    assert not target.work_of_counting(workload(n)).is_real


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_experts_multiply_what_the_router_sends_in_every_type(dtype: Any, tmp_path: Path) -> None:
    n, narrow = 128, 32
    attention = n * WIDTH * (2 * WIDTH + 2 * narrow) + 2 * n * n * WIDTH
    experts = n * WIDTH * 4 + 2 * 3 * n * WIDTH * FEED_FORWARD
    counted = target_of("mixtral", tmp_path).executed_macs(workload(n, dtype=dtype))
    assert counted == LAYERS * (attention + experts) == 19_988_480


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("kind", ["bart", "deberta-v2", "mamba2", "mixtral"])
def test_counts_on_fake_tensors_equal_those_of_a_real_run(
    kind: str, mode: Any, tmp_path: Path
) -> None:
    case, target = workload(600, mode=mode), target_of(kind, tmp_path)
    real = count_operators(target.build(case).run).complete_macs
    with fake_mode():
        assert count_operators(target.build(case).run).complete_macs == real


def test_depthwise_convolutions_go_backward_at_twice_their_cost(tmp_path: Path) -> None:
    """Torch's own counter multiplies channels by channels here."""
    n, target = 64, target_of("mamba2", tmp_path)
    channels, kernel, padded = 2 * WIDTH + 2 * 2 * 16, 4, n + 3
    sums: dict[str, int] = {}
    with fake_mode():
        counts = count_operators(target.build(workload(n, mode="training")).run)
    for (_, operator), tally in counts.tallies.items():
        sums[operator] = sums.get(operator, 0) + tally.macs
    forward = LAYERS * padded * channels * kernel
    assert sums["aten.convolution"] == forward
    assert sums["aten.convolution_backward"] == 2 * forward


def test_fourier_transforms_are_reported_as_uncounted(tmp_path: Path) -> None:
    with fake_mode():
        counts = count_operators(target_of("fnet", tmp_path).build(workload(64)).run)
    assert set(counts.uncounted) == {"aten._fft_c2c"}


def test_a_router_that_depends_on_values_is_counted_in_a_real_run(tmp_path: Path) -> None:
    """Each token uses two experts of four: for queries and outputs of its heads, and afterwards."""
    n, narrow, target = 128, 32, target_of("jetmoe", tmp_path)
    heads = 2 * 2 * n * WIDTH * narrow + n * WIDTH * 2 * narrow + 2 * n * n * WIDTH
    routers = 2 * n * WIDTH * 4
    experts = 2 * 3 * n * WIDTH * FEED_FORWARD
    assert target.executed_macs(workload(n)) == LAYERS * (heads + routers + experts)
    with pytest.raises(MeasurementError, match="its peak memory depends on data"):
        target.peak_bytes(workload(n))
