"""attnprof's banded attention where it runs as a single operator, as it does on fake tensors."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from attnprof.core.pattern import AttentionPattern
from attnprof.counting.attention.calls import AttentionCall
from attnprof.nn.banded.autograd import OPERATORS

BANDED = frozenset(OPERATORS[:2])
"""Its operators in the forward pass."""


def banded_call(named: dict[str, Any], macs: int, module_path: str) -> AttentionCall:
    """What a banded operator needs and executes.

    The rows of symmetric global tokens are computed apart and then written over those of the band,
    so none of the band's pairs in these rows is needed.

    Args:
        named: the operator's arguments by name.
        macs: of the operator.
        module_path: of the module that calls it.
    """
    query: Tensor = named["query"]
    batch, heads, seq_len, head_dim = query.shape
    value_dim = named["value"].shape[-1]
    is_padded = named["key_padding_mask"] is not None
    return AttentionCall(
        module_path=module_path,
        implementation="banded_attention",
        batch=batch,
        heads=heads,
        kv_heads=named["key"].shape[1],
        queries=seq_len,
        keys=seq_len,
        head_dim=head_dim,
        value_dim=value_dim,
        executed_pairs=macs // (head_dim + value_dim),
        attended_pairs=None if is_padded else _attended_pairs(named, heads, seq_len),
        executed_macs=macs,
        unknown="its padding mask depends on data" if is_padded else "",
    )


def _attended_pairs(named: dict[str, Any], heads: int, seq_len: int) -> int:
    """Pairs of all sequences and heads, without those of rows that are written over."""
    pairs, first = 0, 0
    for count in named["counts"]:
        positions = named["positions"][first : first + count]
        first += count
        pattern = AttentionPattern.sliding(
            tuple(named["sides"]), named["dilation"], positions, heads, causal=named["causal"]
        )
        pairs += pattern.pairs(seq_len)
        if named["global_rows"] is not None:
            pairs -= heads * count * seq_len
    return pairs
