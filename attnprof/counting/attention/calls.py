"""What the attention operators of one call need and what they execute."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Implementation = Literal[
    "scaled_dot_product_attention", "flex_attention", "banded_attention", "eager"
]
"""A fused operator, FlexAttention, attnprof's own, or the chain product, softmax, product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCall:
    """One attention of the forward pass.

    Attributes:
        module_path: the path of the innermost module, as in `OperatorCounts`; `""` for the root.
        implementation: which operators compute it.
        batch: sequences; 1 where batch and heads are one axis of the scores.
        heads: query heads, or batch times heads where these are one axis of the scores.
        kv_heads: heads of keys and values, before they are repeated for grouped queries.
        queries: queries of a head.
        keys: keys that the softmax of one query is taken over. A model that computes scores in
            chunks has fewer of them than tokens.
        head_dim: elements of a query and a key.
        value_dim: elements of a value.
        executed_pairs: (batch, head, query, key) whose scores are multiplied, masked ones included;
            of FlexAttention those of the blocks that it computes.
        attended_pairs: those of them that the mask lets through; None if that is not known.
        executed_macs: of scores and context, the same as the operator counts of both.
        unknown: why `attended_pairs` is None, such as "its mask depends on data".
    """

    module_path: str
    implementation: Implementation
    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    head_dim: int
    value_dim: int
    executed_pairs: int
    attended_pairs: int | None
    executed_macs: int
    unknown: str = ""

    @property
    def useful_macs(self) -> int | None:
        """MACs of scores and context of the attended pairs alone; None if these are not known."""
        if self.attended_pairs is None:
            return None
        return self.attended_pairs * (self.head_dim + self.value_dim)


@dataclass(frozen=True, slots=True)
class AttentionCalls:
    """The attention of one call, in the order in which it runs.

    Attributes:
        calls: each attention.
        unrecognised: what multiplies queries and keys but could not be followed, each in words,
            such as "aten._flash_attention_forward in layers.0: packed sequences"; empty if
            nothing was missed.
    """

    calls: tuple[AttentionCall, ...]
    unrecognised: tuple[str, ...] = ()

    @property
    def executed_macs(self) -> int:
        """MACs of scores and context of all calls."""
        return sum(call.executed_macs for call in self.calls)

    @property
    def useful_macs(self) -> int | None:
        """MACs of all attended pairs; None if those of any call are not known."""
        return _total(call.useful_macs for call in self.calls)

    @property
    def attended_pairs(self) -> int | None:
        """Pairs of all calls that masks let through; None if those of any call are not known."""
        return _total(call.attended_pairs for call in self.calls)

    @property
    def executed_pairs(self) -> int:
        """Pairs of all calls whose scores are multiplied."""
        return sum(call.executed_pairs for call in self.calls)


def _total(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
