"""The least bytes that a call moves, its arithmetic intensity, and what bounds it on a machine.

A call whose intensity is below the machine's balance waits for memory even at full speed; above it,
for its matrix products. Source: Williams, Waterman and Patterson, Roofline, Communications of the
ACM 52 (4), 2009.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from attnprof.core import formulas
from attnprof.core.records import COPY_RATE, MATMUL_RATE

if TYPE_CHECKING:
    from attnprof.core.pattern import AttentionPattern
    from attnprof.core.records import Value
    from attnprof.core.workload import Workload

Bound = Literal["compute", "memory"]

FLOPS_PER_MAC = 2

TRAINING_COPIES = 2
"""In training each input, weight and output has a gradient of its size, moved once as well."""


def min_bytes(workload: Workload) -> int:
    """Bytes of the call's inputs, weights and outputs, each read or written once, in its dtype.

    b (m D + m E) elements of hidden states, where m is the number of queries and E the width of
    the output; the parameters of all layers, biases included; in mode `decode` also the cached
    keys and values that a new token attends to, read once, and those of the new tokens, written
    once. In training twice as much: each of these has a gradient. What a fused kernel need not
    move is not included: queries, scores, and hidden states between layers.
    """
    sets = sum(2 if layer.symmetric_globals else 1 for layer in workload.layers)
    elements = formulas.parameters(workload, sets)
    output_width = workload.hidden_size if workload.scope == "layer" else workload.output_width
    widths = workload.hidden_size + output_width
    elements += workload.batch_size * workload.queries * widths
    if workload.mode == "decode":
        elements += workload.batch_size * _cached_elements(workload)
    copies = TRAINING_COPIES if workload.mode == "training" else 1
    return copies * elements * workload.dtype_bytes


def intensity(executed_macs: int, least_bytes: int) -> float:
    """Arithmetic intensity: executed FLOPs for each byte of `min_bytes`, to four decimals."""
    return round(FLOPS_PER_MAC * executed_macs / least_bytes, 4)


def balance(values: Mapping[str, Value]) -> float | None:
    """FLOPs for each byte at which products and copies take equally long; None without rates."""
    macs_per_s, bytes_per_s = values.get(MATMUL_RATE), values.get(COPY_RATE)
    if not macs_per_s or not bytes_per_s:
        return None
    return FLOPS_PER_MAC * macs_per_s / bytes_per_s


def bound(values: Mapping[str, Value]) -> Bound | None:
    """What limits a call at best; None where its intensity or the machine's rates are not known.

    Args:
        values: of a row, by quantity.
    """
    machine_balance, own = balance(values), values.get("intensity")
    if machine_balance is None or own is None:
        return None
    return "memory" if own < machine_balance else "compute"


def _cached_elements(workload: Workload) -> int:
    """Keys and values of one sequence that are read from the cache or written to it."""
    keys = sum(_cached_keys(workload, layer) for layer in workload.layers)
    keys += len(workload.layers) * workload.kv_heads * workload.new_tokens
    return (workload.head_dim + workload.value_dim) * keys


def _cached_keys(workload: Workload, layer: AttentionPattern) -> int:
    """Keys before the new tokens to which one of these attends, in all heads of keys of a layer."""
    first = workload.seq_len - workload.new_tokens
    has_global_query = bool(layer.symmetric_globals) and layer.last_position >= first
    if layer.left is None or has_global_query:
        return workload.kv_heads * first
    group = workload.num_heads // workload.kv_heads
    starts = range(0, workload.num_heads, group)
    groups = Counter(frozenset(layer.dilation[start : start + group]) for start in starts)
    return sum(heads * _attended(workload, layer, strides) for strides, heads in groups.items())


def _attended(workload: Workload, layer: AttentionPattern, strides: frozenset[int]) -> int:
    """Keys before the new tokens to which a new token attends in heads of these strides."""
    first = workload.seq_len - workload.new_tokens
    left, _ = layer.sides(workload.seq_len)
    # Of the new tokens at equal remainders, the first reaches farthest back.
    progressions = [
        range(query - stride * min(left, query // stride), first, stride)
        for stride in strides
        for query in range(first, first + min(stride, workload.new_tokens))
    ]
    always = [position for position in layer.global_positions if position < first]
    if len(strides) > 1:  # their keys overlap
        return len(set().union(always, *progressions))
    inside = sum(any(position in keys for keys in progressions) for position in always)
    return sum(map(len, progressions)) + len(always) - inside
