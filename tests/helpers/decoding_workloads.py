"""Workloads of mode `decode` that tests share, small enough to run in milliseconds."""

from __future__ import annotations

from workloads import CAUSAL, HIDDEN, sliding

from attnprof import AttentionPattern, AttentionStack, Workload

_CASES: tuple[tuple[AttentionPattern | AttentionStack, int, dict[str, object]], ...] = (
    (CAUSAL, 1, {"batch_size": 2}),
    (CAUSAL, 3, {"batch_size": 2, "kv_heads": 2}),
    (CAUSAL, 40, {}),
    (sliding(8, causal=True), 1, {"batch_size": 2, "kv_heads": 2, "head_dim": 20}),
    (sliding(8, causal=True), 3, {"batch_size": 2}),
    (sliding(9, (1, 1, 2, 5), (0, 3), causal=True), 3, {"kv_heads": 2}),
    (AttentionStack(layers=(sliding(8, causal=True), CAUSAL)), 1, {"kv_heads": 1}),
)

DECODED = [
    Workload(pattern, 40, HIDDEN, mode="decode", new_tokens=new, scope=scope, **sizes)  # type: ignore[arg-type]
    for pattern, new, sizes in _CASES
    for scope in ("attention", "layer")
    if scope == "attention" or (pattern, new) in ((CAUSAL, 1), (_CASES[-1][0], 1))
]
