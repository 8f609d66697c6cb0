"""Features of a workload that some kernels support and others do not."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from attnprof.core.mask_pattern import mask_layers
from attnprof.core.workload import Workload

Feature = Literal[
    "mask function", "causal", "unequal sides", "grouped heads", "free widths", "decode"
]

_REASONS: dict[Feature, str] = {
    "mask function": "computes a sliding window, not a mask function",
    "causal": "computes attention to both sides, not causal attention",
    "unequal sides": "computes windows with as many keys before a query as after it",
    "grouped heads": "computes a head of keys and values for each query head",
    "free widths": "computes heads of width hidden_size / num_heads",
    "decode": "has no cache of keys and values to decode with",
}


def features_of(workload: Workload) -> set[Feature]:
    """The features that a kernel has to have for a workload."""
    layers = workload.layers
    has_mask = bool(mask_layers(workload.pattern))
    present: dict[Feature, bool] = {
        "mask function": has_mask,
        # A mask function that is causal needs no more than others.
        "causal": workload.pattern.causal and not has_mask,
        "unequal sides": any(not layer.causal and layer.left != layer.right for layer in layers),
        "grouped heads": workload.kv_heads < workload.num_heads,
        "free widths": workload.query_width != workload.hidden_size
        or workload.value_dim != workload.head_dim,
        "decode": workload.mode == "decode",
    }
    return {feature for feature, is_present in present.items() if is_present}


def unsupported_feature(workload: Workload, supported: Collection[Feature] = ()) -> str | None:
    """Why a kernel cannot run a workload, None if it has all features of it.

    Args:
        workload: the call.
        supported: the features that the kernel has.
    """
    missing = features_of(workload).difference(supported)
    reasons = [reason for feature, reason in _REASONS.items() if feature in missing]
    is_stack_of_attentions = len(workload.layers) > 1 and workload.scope == "attention"
    if is_stack_of_attentions and workload.output_width != workload.hidden_size:
        reasons.append("stacks attention only if it is as wide as its input; whole layers always")
    return reasons[0] if reasons else None
