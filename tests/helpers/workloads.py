"""Workloads that tests share, small enough to enumerate and to run in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

from attnprof import AttentionPattern, AttentionStack, Workload

HEADS = 4
HIDDEN = 64


def sliding(
    window: int, dilation: int | Sequence[int] = 1, positions: Sequence[int] = ()
) -> AttentionPattern:
    return AttentionPattern.sliding(window, dilation, positions, num_heads=HEADS)


def describe(workload: Workload) -> str:
    """A name for a test of this workload."""
    layer = workload.layers[0]
    windows = "-".join(str(one.window or "dense") for one in workload.layers)
    scope = f"_{workload.scope}" if workload.scope != "attention" else ""
    return (
        f"w{windows}_s{max(layer.dilation)}_g{len(layer.global_positions)}_n{workload.seq_len}"
        f"_D{workload.hidden_size}_b{workload.batch_size}_{workload.dtype}_{workload.mode}"
        f"{scope}"
    )


PATTERNS = (
    AttentionPattern.dense(HEADS),
    sliding(8),
    sliding(16, positions=(0,)),
    sliding(16, positions=(3, 20, 39)),
    sliding(200, positions=(0, 1)),
    sliding(8, dilation=(1, 1, 2, 5)),
    sliding(12, dilation=3, positions=(0, 17)),
    AttentionStack(layers=(sliding(8), sliding(16), sliding(32))),
    AttentionStack(layers=(AttentionPattern.dense(HEADS),) * 2),
)
MODES = ("inference", "training")

SCOPES = ("attention", "layer")

WORKLOADS = [
    Workload(pattern, seq_len, HIDDEN, batch_size=batch, mode=mode, scope=scope)
    for scope in SCOPES
    for pattern in PATTERNS
    for seq_len, batch in ((40, 2), (96, 1))
    for mode in MODES
]
