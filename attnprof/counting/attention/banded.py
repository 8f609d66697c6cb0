"""attnprof's banded attention, which is one operator on fake tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from attnprof.core.pattern import AttentionPattern
from attnprof.counting.attention.calls import AttentionCall
from attnprof.nn.banded.autograd import OPERATORS

FORWARD_OPERATORS = OPERATORS[:2]
"""The operators of the forward pass: one returns its output, one writes it to the query."""


@dataclass(frozen=True, slots=True, eq=False)
class BandedAttention:
    """One call of banded attention.

    Attributes:
        module_path: of the module that calls it.
        macs: of the operator.
        named: its arguments by name.
    """

    module_path: str
    macs: int
    named: dict[str, Any]


def call_of_banded(banded: BandedAttention) -> AttentionCall:
    """What a call of banded attention needs and executes."""
    query: Tensor = banded.named["query"]
    key: Tensor = banded.named["key"]
    batch, heads, queries, head_dim = query.shape
    value_dim = banded.named["value"].shape[-1]
    is_padded = banded.named["key_padding_mask"] is not None
    return AttentionCall(
        module_path=banded.module_path,
        implementation="sliding_window_attention",
        batch=batch,
        heads=heads,
        kv_heads=key.shape[1],
        queries=queries,
        keys=key.shape[2],
        head_dim=head_dim,
        value_dim=value_dim,
        executed_pairs=banded.macs // (head_dim + value_dim),
        attended_pairs=None if is_padded else _pairs(banded.named, heads, queries, key.shape[2]),
        executed_macs=banded.macs,
        unknown="its padding mask is not followed" if is_padded else "",
    )


def _pairs(named: dict[str, Any], heads: int, queries: int, keys: int) -> int:
    """Pairs of all sequences, without those of global queries: they are computed apart."""
    left, right = named["sides"]
    pairs = start = 0
    for count in named["counts"]:
        pattern = AttentionPattern(
            num_heads=heads,
            left=left,
            right=right,
            dilation=tuple(named["dilation"]),
            global_positions=tuple(named["positions"][start : start + count]),
            causal=named["causal"],
        )
        start += count
        global_queries = 0 if pattern.causal else count
        pairs += pattern.pairs(keys, queries) - heads * global_queries * keys
    return pairs
