"""Costs of built-in kernels on CUDA, in closed form, against runs on fake CUDA tensors."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from decoding_workloads import DECODED
from workloads import CAUSAL, HEADS, describe, sliding

from attnprof import AttentionPattern, AttentionStack, Workload, kernels
from attnprof.core.blocks import ComputedBlocks
from attnprof.core.workload import DType, Mode, Scope
from attnprof.counting.allocations import peak_bytes
from attnprof.counting.call_profile import profile_call
from attnprof.counting.fake_tensors import fake_mode

# Lengths with and without padding of masks; enough queries that keys are split in some cases.
PATTERNS: tuple[tuple[AttentionPattern | AttentionStack, dict[str, Any]], ...] = (
    (AttentionPattern.dense(HEADS), {}),
    (sliding(16, positions=(3, 20, 39)), {}),
    (sliding(8, dilation=(1, 1, 2, 5)), {}),
    (AttentionStack(layers=(sliding(8), sliding(16))), {}),
    (CAUSAL, {}),
    (CAUSAL, {"kv_heads": 2, "head_dim": 16}),
    (sliding(9, causal=True), {}),
    (sliding(17, causal=True), {"kv_heads": 2, "head_dim": 20}),
    (sliding((5, 2), positions=(3, 20)), {"kv_heads": 1, "head_dim": 16}),
    (sliding(8), {"value_dim": 24}),
)
RUNS: tuple[tuple[int, int, DType, Mode, Scope], ...] = (
    (100, 2, "float32", "inference", "attention"),
    (96, 1, "bfloat16", "training", "attention"),
    (180, 1, "float16", "inference", "layer"),
    (90, 2, "float32", "training", "layer"),
)
ON_CUDA = [
    Workload(pattern, seq_len, 64, batch, dtype, "cuda", mode, scope, **widths)
    for index, (pattern, widths) in enumerate(PATTERNS)
    for seq_len, batch, dtype, mode, scope in (RUNS[index % 4],)
] + [
    replace(workload, device="cuda", dtype=dtype)
    for workload, dtype in zip(DECODED[::2], ("float32", "bfloat16") * 6, strict=False)
]
CASES = [
    pytest.param(name, workload, id=f"{name}_{describe(workload)}")
    for name in kernels.names()
    for workload in (ON_CUDA[:1] + ON_CUDA[6:7] if "eager" in name else ON_CUDA)
    if kernels.find(name).unsupported_reason(workload) is None
]


@pytest.mark.parametrize(("name", "workload"), CASES)
def test_costs_on_cuda_are_those_of_a_run_on_fake_tensors(name: str, workload: Workload) -> None:
    kernel = kernels.find(name)
    with fake_mode():
        profile = profile_call(kernel.build(workload).run)
        followed = profile.peak_bytes
        if workload.mode == "training":  # where attributing gradients to modules keeps tensors
            followed = peak_bytes(kernel.build(workload).run)
    assert not profile.counts.uncounted
    assert not profile.unknown_peak
    assert kernel.executed_macs(workload) == profile.counts.macs
    # Uncompiled, FlexAttention has gradients of what it returns beside its output.
    within = 0.05 if name == "longformer-flex" else 0.02
    assert kernel.peak_bytes(workload) == pytest.approx(followed, rel=within)


@pytest.mark.parametrize("name", ["bert-sdpa", "mistral-sdpa"])
def test_blocks_of_causal_attention_on_cuda_are_the_triangle(name: str) -> None:
    kernel: Any = kernels.find(name)
    workload = Workload(CAUSAL, 50, 64, device="cuda", dtype="bfloat16")
    pairs: Counter[Any] = Counter()
    for computed in kernel.blocks(workload, CAUSAL, 0):
        assert isinstance(computed, ComputedBlocks)
        pairs.update(
            (query, key)
            for run in computed.runs
            for queries, keys in run.blocks()
            for query in queries
            for key in keys
        )
    assert pairs == Counter((query, key) for query in range(50) for key in range(query + 1))


GROUPED: dict[str, Any] = {"kv_heads": 2}


@pytest.mark.parametrize(
    ("name", "pattern", "options", "reason"),
    [
        ("bert-sdpa", AttentionPattern.dense(HEADS), {"dtype": "float64"}, "no fused attention in"),
        ("bert-sdpa", AttentionPattern.dense(HEADS), {"hidden_size": 24}, "no heads of width 6"),
        ("mistral-sdpa", CAUSAL, GROUPED, "grouped heads on CUDA only in half precision"),
        ("mistral-sdpa", CAUSAL, {"dtype": "bfloat16", **GROUPED}, None),
        ("mistral-sdpa", sliding(9, causal=True), GROUPED, None),  # repeated under a mask
        ("longformer-masked", sliding(8), {"dtype": "bfloat16", **GROUPED}, "and under no mask"),
        ("bert-sdpa", CAUSAL, {"dtype": "bfloat16", "hidden_size": 48}, "no multiple of 8"),
        ("longformer-flex", sliding(8, positions=(0,)), GROUPED, "grouped heads on CUDA"),
        ("longformer-banded", sliding(8, positions=(0,)), GROUPED, None),
    ],
)
def test_what_torch_does_not_fuse_on_cuda_is_unsupported(
    name: str, pattern: AttentionPattern, options: dict[str, Any], reason: str | None
) -> None:
    kernel = kernels.find(name)
    sizes: dict[str, Any] = {"hidden_size": 64, "device": "cuda"} | options
    workload = Workload(pattern, 40, **sizes)
    given = kernel.unsupported_reason(workload)
    assert (given or "").find(reason or "") >= 0
    assert (given is None) == (reason is None)
    assert kernel.unsupported_reason(replace(workload, device="cpu")) in (None, given) or (
        name == "longformer-flex"
    )
