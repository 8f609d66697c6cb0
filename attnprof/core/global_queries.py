"""The two ways to compute the attention of global tokens to all tokens, by their MACs.

Either keys and values of all tokens are projected; or the projections are absorbed, since
q (W x)' = (q W) x': the few queries and contexts are projected instead, and scores and context are
computed over the hidden states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnprof.core.pattern import AttentionPattern
    from attnprof.core.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalQueries:
    """Global tokens of one sequence that attend to all tokens, with their own projections.

    Attributes:
        num_globals: g, the tokens.
        seq_len: n.
        hidden_size: D.
        num_heads: H, heads of queries.
        kv_heads: K, heads of keys and values.
        head_dim: d, width of a head of queries and keys.
        value_dim: e, width of a head of values.
    """

    num_globals: int
    seq_len: int
    hidden_size: int
    num_heads: int
    kv_heads: int
    head_dim: int
    value_dim: int

    @classmethod
    def of(cls, workload: Workload, layer: AttentionPattern) -> GlobalQueries:
        """The global tokens of one layer of a workload."""
        return cls(
            num_globals=len(layer.symmetric_globals),
            seq_len=workload.seq_len,
            hidden_size=workload.hidden_size,
            num_heads=workload.num_heads,
            kv_heads=workload.kv_heads,
            head_dim=workload.head_dim,
            value_dim=workload.value_dim,
        )

    @property
    def projected_macs(self) -> int:
        """MACs if keys and values of all tokens are projected, the query projection not included.

        n D K (d + e) for the projections, g n H (d + e) for scores and context.
        """
        widths = self.head_dim + self.value_dim
        projections = self.seq_len * self.hidden_size * self.kv_heads * widths
        return projections + self.num_globals * self.seq_len * self.num_heads * widths

    @property
    def absorbed_macs(self) -> int:
        """MACs if the projections are absorbed, the query projection not included.

        g D H (d + e) to project queries and contexts; scores and context are then computed for
        each head over all D features, with 2 g H n D.
        """
        widths = self.head_dim + self.value_dim
        rows = self.num_globals * self.num_heads
        return rows * self.hidden_size * (widths + 2 * self.seq_len)

    @property
    def is_absorbed(self) -> bool:
        """Whether absorbing the projections takes fewer MACs, as it does with few tokens."""
        return self.num_globals > 0 and self.absorbed_macs < self.projected_macs
