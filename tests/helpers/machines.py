"""A measured machine, and conditions that several tests use."""

from __future__ import annotations

from attnprof.core.machine import (
    Conditions,
    KernelSample,
    Machine,
    Noise,
    Rates,
    Sample,
)

SAMPLE = Sample(
    seq_len=1024,
    executed_macs=3_422_552_064,
    moved_bytes=230_433_792,
    time_ns=94_000_000,
    time_low_ns=90_000_000,
    time_high_ns=111_000_000,
)

MACHINE = Machine(
    device="cpu",
    environment={"processor": "Räder 3000", "cores": 2, "packages": {"torch": "2.13.0"}},
    memory_bytes=2**34,
    rates=Rates(
        matmul_macs_per_s={"float32": 89 * 10**9, "bfloat16": 2 * 10**11},
        copy_bytes_per_s=22 * 2**30,
    ),
    noise=Noise(single_spread=0.03, paired_spread=0.02, outlier_spread=0.1, single_ns=1, pairs=9),
    kernel_samples=(
        KernelSample(
            kernel="bert-sdpa",
            dtype="float32",
            mode="inference",
            scope="attention",
            sample=SAMPLE,
        ),
    ),
    conditions=Conditions(logical_cores=2, usable_cores=2, threads=2, stolen_share=0.01),
    failures={"float16": "killed by SIGKILL"},
    left_out={"longformer-flex at 4,096 tokens": "no time left"},
    disturbed={"bert-sdpa at 1,024 tokens": 1.3},
)

IDLE = Conditions(
    logical_cores=2, usable_cores=2, physical_cores=2, threads=2, cores_used_by_others=0.0
)

NOISY = Noise(single_spread=0.12, paired_spread=0.08, outlier_spread=1.5)
