"""What is measured on a GPU; the same code runs on the CPU, where there is none.

Outputs, MACs and peaks of every built-in kernel, comparisons, decoding, and the choice of the fused
kernel. `pytest -m gpu` runs those on CUDA.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from workloads import CAUSAL, HEADS, sliding

import attnprof
from attnprof import AttentionPattern, Workload, kernels
from attnprof.core.cuda_attention import CudaAttention
from attnprof.core.workload import Case, Device, DType, Mode
from attnprof.counting.operator_counts import count_operators
from attnprof.measure.peak_memory import measure_peak_bytes
from attnprof.measure.worker_tasks import check_output

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
ON_CUDA = pytest.param("cuda", marks=[pytest.mark.gpu, NEEDS_CUDA])
DEVICES = ["cpu", ON_CUDA]
PATTERNS = {
    "bert-eager": AttentionPattern.dense(HEADS),
    "bert-sdpa": CAUSAL,
    "mistral-eager": sliding(9, causal=True),
    "mistral-sdpa": CAUSAL,
}
ALLOCATOR_BYTES = 2**21
"""CUDA's allocator hands out memory in steps of up to 2 MiB."""

CUBLAS_BYTES = 2**25 + 2**20
"""The largest workspace that cuBLAS takes by default, 32 MiB on Hopper, and some slack."""


def workload_of(
    name: str, device: Device, dtype: DType, mode: Mode = "inference", seq_len: int = 80
) -> Workload:
    pattern = PATTERNS.get(name, sliding(16, (1, 1, 2, 2), (0, 7)))
    if name == "longformer-hf":
        pattern = sliding(16, positions=(0, 7))
    return Workload(pattern, seq_len, 64, 2, dtype, device, mode)


def supported_workload(name: str, device: str, dtype: DType, mode: Mode = "inference") -> Workload:
    workload = workload_of(name, cast("Device", device), dtype, mode)
    reason = kernels.find(name).unsupported_reason(workload)
    if reason is not None:
        pytest.skip(reason)
    if kernels.find(name).needs_compilation and device == "cpu":
        pytest.skip("takes seconds to compile, and runs in other tests")
    return workload


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", kernels.names())
def test_outputs_and_macs_of_kernels(name: str, dtype: DType, device: str) -> None:
    workload = supported_workload(name, device, dtype)
    assert check_output(Case(name, workload)) == ""
    kernel = kernels.find(name)
    counts = count_operators(kernel.build(workload).run)
    assert not counts.uncounted
    assert counts.macs == kernel.executed_macs(workload)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", kernels.names())
def test_training_runs_with_the_macs_of_the_closed_form(name: str, device: str) -> None:
    workload = supported_workload(name, device, "float32", "training")
    kernel = kernels.find(name)
    call = kernel.build(workload)
    assert count_operators(call.run).macs == kernel.executed_macs(workload)
    gradients = [parameter.grad for parameter in call.module.parameters()]
    assert all(
        one is not None and bool(one.isfinite().all()) for one in gradients if one is not None
    )
    assert any(one is not None for one in gradients)


@pytest.mark.gpu
@NEEDS_CUDA
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize(
    "name", ["bert-eager", "bert-sdpa", "longformer-hf", "longformer-masked", "longformer-flex"]
)
def test_predicted_peaks_are_near_those_of_the_allocator(
    name: str, mode: Mode, dtype: DType
) -> None:
    pattern = AttentionPattern.dense() if "bert" in name else AttentionPattern.sliding(512)
    workload = Workload(pattern, 4096, dtype=dtype, device="cuda", mode=mode)
    call = kernels.find(name).build(workload)
    call.run()
    measured = measure_peak_bytes(call.run, "cuda")
    predicted = kernels.find(name).peak_bytes(workload)
    assert abs(measured - predicted) < 0.05 * predicted + 8 * ALLOCATOR_BYTES + CUBLAS_BYTES


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["bert-sdpa", "mistral-sdpa", "longformer-banded"])
@pytest.mark.parametrize("new_tokens", [1, 3])
def test_decoding(name: str, new_tokens: int, device: str) -> None:
    pattern = sliding(9, causal=True) if name == "longformer-banded" else CAUSAL
    workload = Workload(pattern, 40, 64, 2, "bfloat16", mode="decode", new_tokens=new_tokens)
    workload = replace(workload, device=cast("Device", device))
    kernel = kernels.find(name)
    assert check_output(Case(name, workload)) == ""
    assert count_operators(kernel.build(workload).run).macs == kernel.executed_macs(workload)


@pytest.mark.gpu
@NEEDS_CUDA
def test_comparison_end_to_end() -> None:
    table = attnprof.compare(
        kernel=["bert-sdpa", "longformer-banded", "longformer-flex"],
        len=[1024],
        window=256,
        dtype="bfloat16",
        device="cuda",
        max_seconds=2,
    )
    assert {row.status for row in table.rows} == {"ok"}
    for row in table.rows:
        cells = row.cells()
        assert cells["operator_macs"] == cells["executed_macs"]
        assert cast("int", cells["time_ns"]) > 0
        assert cells["bound"] in ("compute", "memory")
    assert table.environment is not None
    assert "gpu" in table.environment


@pytest.mark.gpu
@NEEDS_CUDA
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("width", [64, 20, 264])
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("masked", ["", "mask", "causal"])
def test_the_fused_kernel_is_the_one_that_torch_chooses(
    dtype: DType, width: int, kv_heads: int, masked: str
) -> None:
    def heads(number: int) -> Any:
        return torch.empty(2, number, 96, width, device="cuda", dtype=getattr(torch, dtype))

    mask = torch.ones(96, 96, device="cuda", dtype=torch.bool) if masked == "mask" else None
    choose: Any = torch.ops.aten._fused_sdp_choice
    chosen = choose(
        *(heads(4), heads(kv_heads), heads(kv_heads)),
        attn_mask=mask,
        is_causal=masked == "causal",
        enable_gqa=kv_heads < 4,
    )
    expected = CudaAttention(
        batch=2,
        heads=4,
        kv_heads=kv_heads,
        queries=96,
        keys=96,
        head_dim=width,
        value_dim=width,
        dtype=dtype,
        is_causal=masked == "causal",
        has_mask=mask is not None,
    ).kernel
    names = {0: "math", 1: "flash", 2: "efficient", 3: "cudnn"}
    # cuDNN's kernel comes first on Hopper; it multiplies the same pairs.
    assert names[chosen] in (expected, "cudnn")
