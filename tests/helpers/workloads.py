"""Workloads that tests share, small enough to enumerate and to run in milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from attnprof import AttentionPattern, AttentionStack, Workload
from attnprof.core.workload import Case, Mode, Scope

HEADS = 4
HIDDEN = 64


def sliding(
    window: int | tuple[int, int],
    dilation: int | Sequence[int] = 1,
    positions: Sequence[int] = (),
    *,
    causal: bool = False,
) -> AttentionPattern:
    return AttentionPattern.sliding(window, dilation, positions, num_heads=HEADS, causal=causal)


def describe(workload: Workload) -> str:
    """A name for a test of this workload."""
    layer = workload.layers[0]
    windows = "-".join(_window(one) for one in workload.layers)
    scope = f"_{workload.scope}" if workload.scope != "attention" else ""
    causal = "causal_" if layer.causal else ""
    return (
        f"{causal}w{windows}_s{max(layer.dilation)}_g{len(layer.global_positions)}"
        f"_n{workload.seq_len}_D{workload.hidden_size}{_widths(workload)}_b{workload.batch_size}"
        f"_{workload.dtype}_{workload.mode}{scope}"
    )


def _window(layer: AttentionPattern) -> str:
    if not layer.causal and layer.left != layer.right:
        return f"{layer.left}+{layer.right}"
    return str(layer.window or "dense")


def _widths(workload: Workload) -> str:
    if workload.has_equal_widths:
        return ""
    return f"_K{workload.kv_heads}_d{workload.head_dim}_e{workload.value_dim}"


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
MODES: tuple[Mode, ...] = ("inference", "training")

SCOPES: tuple[Scope, ...] = ("attention", "layer")

CAUSAL = AttentionPattern.dense(HEADS, causal=True)

# Causal patterns, sinks, unequal sides, grouped heads and free widths, in few combinations.
SHAPES: tuple[tuple[AttentionPattern | AttentionStack, dict[str, Any]], ...] = (
    (CAUSAL, {}),
    (CAUSAL, {"kv_heads": 2, "head_dim": 20}),
    (sliding(9, causal=True), {}),
    (sliding(17, causal=True), {"kv_heads": 2, "head_dim": 20}),
    (sliding(8, (1, 1, 2, 5), (0, 3), causal=True), {}),
    (sliding((5, 2), positions=(3, 20)), {"kv_heads": 1, "head_dim": 20}),
    (sliding(8), {"kv_heads": 2, "value_dim": 12}),
    (
        AttentionStack(layers=(*(sliding(w, causal=True) for w in (8, 16)), CAUSAL)),
        {"kv_heads": 2},
    ),
)

WORKLOADS = [
    Workload(pattern, seq_len, HIDDEN, batch_size=batch, mode=mode, scope=scope)
    for scope, seq_len, batch in zip(SCOPES, (40, 96), (2, 1), strict=True)
    for pattern in PATTERNS
    for mode in MODES
] + [
    Workload(pattern, seq_len, HIDDEN, batch_size=batch, mode=mode, scope=scope, **widths)
    for scope, seq_len, batch in zip(SCOPES, (40, 96), (2, 1), strict=True)
    for pattern, widths in SHAPES
    for mode in MODES
]


def groups_by_length(cases: Iterable[Case]) -> list[tuple[Case, ...]]:
    """Cases in ascending order of length, those of one length in one group."""
    return [tuple(group) for _, group in groupby(cases, key=lambda case: case.workload.seq_len)]
