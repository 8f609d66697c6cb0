"""Predicted peak memory of every built-in kernel against the allocator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from builtin_kernels import supported
from workloads import CAUSAL, HEADS, sliding

from attnprof import AttentionPattern, AttentionStack, Workload, kernels
from attnprof.core.workload import DType, Mode
from attnprof.counting.allocations import peak_bytes
from attnprof.counting.fake_tensors import fake_mode
from attnprof.measure.peak_memory import measure_peak_bytes

# Each pair of length, type and mode.
SETTINGS: tuple[tuple[int, int, DType, Mode], ...] = (
    (64, 1, "float32", "inference"),
    (64, 1, "bfloat16", "training"),
    (700, 2, "float32", "training"),
    (700, 2, "bfloat16", "inference"),
)

# Shapes in which different tensors decide the peak, with several head widths.
# The first is the one that a compiled kernel runs.
PEAKS = [
    Workload(pattern, seq_len, 128, batch_size=batch, dtype=dtype, mode=mode, **widths)
    for pattern, widths in (
        (sliding(257, causal=True), {"kv_heads": 2, "head_dim": 20}),
        (CAUSAL, {"kv_heads": 2}),
        (sliding(65, (1, 1, 2, 2), (0, 3), causal=True), {"kv_heads": 1}),
        (sliding((90, 3), positions=(0, 9, 20)), {"kv_heads": 2}),
        (AttentionStack(layers=(sliding(65, causal=True), CAUSAL)), {}),
    )
    for seq_len, batch, dtype in ((700, 2, "float32"), (64, 1, "bfloat16"))
    for mode in ("inference", "training")
] + [
    Workload(pattern, seq_len, hidden, batch_size=batch, dtype=dtype, mode=mode)
    for pattern, hidden in (
        (AttentionPattern.dense(HEADS), 128),
        (AttentionPattern.dense(12), 768),
        (AttentionStack(layers=(AttentionPattern.dense(HEADS),) * 3), 256),
        (sliding(64), 128),
        (sliding(256, positions=range(5)), 128),
        (sliding(64, dilation=(1, 1, 2, 2), positions=(0,)), 128),
        (AttentionPattern.sliding(64, 1, (0, 9)), 768),
        (AttentionPattern.sliding(128, 1, range(40)), 768),
        (sliding(256), 128),
        (AttentionStack(layers=(sliding(32), sliding(64), sliding(128))), 256),
        (AttentionPattern.sliding(64, 1, (), num_heads=1), 128),
        (AttentionPattern.sliding(128, 1, (0, 1), num_heads=1), 128),
    )
    for seq_len, batch, dtype, mode in SETTINGS
    if dtype == "float32" or hidden == 128
]
# Heads much narrower than the hidden states, whose gradients' sum then decides the peak.
PEAKS.append(Workload(sliding(51, causal=True), 400, 256, mode="training", kv_heads=2, head_dim=16))


def measured_peak(kernel: kernels.Kernel, workload: Workload) -> int:
    call = kernel.build(workload)
    if kernel.needs_compilation:
        call.run()
    return measure_peak_bytes(call.run, "cpu")


@pytest.mark.parametrize(("kernel", "workload"), supported(PEAKS, compiled=1))
def test_predicted_peak_is_within_two_per_cent_of_the_allocators(
    kernel: kernels.Kernel, workload: Workload
) -> None:
    # oneDNN's scratchpads for products of half precisions differ from CPU to CPU.
    with torch.backends.mkldnn.flags(enabled=workload.dtype == "float32"):
        measured = measured_peak(kernel, workload)
        assert kernel.peak_bytes(workload) == pytest.approx(measured, rel=0.02)
        if not kernel.needs_compilation:
            with fake_mode():
                followed = peak_bytes(kernel.build(workload).run)
            assert followed == pytest.approx(measured, rel=0.01)


# The same as encoder layers, and lengths and depths as in practice.
ENCODER_LAYERS = [
    replace(workload, scope="layer")
    for workload in PEAKS[2::3]  # each of length, type and mode with some of the patterns
    if workload.dtype == "float32" or workload.seq_len == 64
] + [
    Workload(pattern, seq_len, batch_size=batch, mode=mode, scope="layer")
    for layers, window, seq_len, batch in ((1, 512, 1024, 1), (2, 256, 384, 2))
    for pattern in (
        AttentionStack(layers=(AttentionPattern.dense(),) * layers),
        AttentionStack(layers=(AttentionPattern.sliding(window),) * layers),
        AttentionStack(layers=(AttentionPattern.sliding(window, 1, (0,)),) * layers),
    )
    for mode in ("inference", "training")
]


@pytest.mark.parametrize(("kernel", "workload"), supported(ENCODER_LAYERS, compiled=1))
def test_predicted_peak_of_encoder_layers_is_within_one_per_cent_of_the_allocators(
    kernel: kernels.Kernel, workload: Workload
) -> None:
    with torch.backends.mkldnn.flags(enabled=workload.dtype == "float32"):
        measured = measured_peak(kernel, workload)
        assert kernel.peak_bytes(workload) == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("name", ["bert-sdpa", "longformer-masked", "longformer-banded"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_predicted_peak_includes_what_fused_attention_repacks_on_this_cpu(
    name: str, dtype: Any
) -> None:
    kernel = kernels.find(name)
    pattern = AttentionPattern.sliding(512)
    workload = Workload(
        pattern if kernel.pattern_support == "pattern" else AttentionPattern.dense(),
        1100,
        dtype=dtype,
    )
    assert kernel.peak_bytes(workload) == pytest.approx(measured_peak(kernel, workload), rel=0.02)
