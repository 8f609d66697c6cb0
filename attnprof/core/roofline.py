"""The least bytes that a call moves, its arithmetic intensity, and what bounds it on a machine.

A call whose intensity is below the machine's balance waits for memory even at full speed; above it,
for its matrix products. Source: Williams, Waterman and Patterson, Roofline, Communications of the
ACM 52 (4), 2009.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from attnprof.core import formulas
from attnprof.core.cache_size import read_cache_bytes
from attnprof.core.records import COPY_RATE, MATMUL_RATE

if TYPE_CHECKING:
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
    copies = TRAINING_COPIES if workload.mode == "training" else 1
    cached = read_cache_bytes(workload) + _written_cache_bytes(workload)
    return copies * elements * workload.dtype_bytes + (cached if workload.mode == "decode" else 0)


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


def _written_cache_bytes(workload: Workload) -> int:
    """Bytes of the keys and values of the new tokens."""
    tokens = workload.batch_size * workload.queries * len(workload.layers)
    widths = workload.key_width + workload.value_width
    return tokens * widths * workload.dtype_bytes
