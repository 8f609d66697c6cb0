"""Layers that run one after the other, each with its own pattern."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from attnprof.core.errors import UsageError
from attnprof.core.pattern import AttentionPattern


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionStack:
    """Layers that run one after the other, such as five with a window and one dense layer.

    Attributes:
        layers: the pattern of each layer, bottom first.

    Raises:
        UsageError: (a `ValueError`) if there is no layer, or if layers differ in their number of
            heads, in whether they are causal, or in their global positions (dense layers need
            none): global is a property of a token, in all layers.
    """

    layers: tuple[AttentionPattern, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise UsageError("layers", "()", "needs at least one layer")
        if len({layer.num_heads for layer in self.layers}) > 1:
            heads = ":".join(str(layer.num_heads) for layer in self.layers)
            raise UsageError("num_heads", heads, "must be the same in all layers of a stack")
        if len({layer.causal for layer in self.layers}) > 1:
            raise UsageError("causal", "differs", "must be the same in all layers of a stack")
        sparse = [layer for layer in self.layers if not layer.is_dense]
        if len({layer.global_positions for layer in sparse}) > 1:
            raise UsageError(
                "global_positions", "differ", "must be the same in all layers of a stack"
            )

    @property
    def num_heads(self) -> int:
        """Heads of each layer."""
        return self.layers[0].num_heads

    @property
    def causal(self) -> bool:
        """Whether no query attends to a later key."""
        return self.layers[0].causal

    def pairs(self, seq_len: int, queries: int | None = None) -> int:
        """The exact number of attended pairs, (head, query, key), in all layers together.

        Args:
            seq_len: tokens in the sequence, all of them keys.
            queries: how many of the last tokens are queries; None for all.

        Raises:
            UsageError: (a `ValueError`) if a global position is outside the sequence.
        """
        layers = Counter(self.layers)
        return sum(count * layer.pairs(seq_len, queries) for layer, count in layers.items())
