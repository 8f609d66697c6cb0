"""The source of queries, keys and values of a call that decodes: new tokens, and a cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnprof.nn.checking.definition import Gradients
from attnprof.nn.checking.sources import GivenHeads, ProjectedHeads


@dataclass(frozen=True, slots=True)
class DecodedHeads:
    """New tokens with projections of their hidden states, and earlier ones whose keys are cached.

    Attributes:
        new: queries, keys and values of the new tokens.
        first: position of the first of them.
        earlier: cached keys and values, in the order of `positions`, and any queries.
        positions: of the earlier tokens in the cache, ascending, `(cached,)`.
    """

    new: ProjectedHeads
    first: int
    earlier: GivenHeads
    positions: Tensor

    def queries(self, positions: Tensor) -> Tensor:
        """Float64 `(heads, positions, head_dim)`."""
        return self.new.queries(positions - self.first)

    def keys(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of each query head, float64 `(heads, positions, width)`.

        Raises:
            LookupError: for an earlier token that is not in the cache.
        """
        is_earlier = positions < self.first
        wanted = positions[is_earlier]
        index = torch.searchsorted(self.positions, wanted)
        if not torch.equal(self.positions[index.clamp(max=len(self.positions) - 1)], wanted):
            raise LookupError("a key to which a new token attends is not in the cache")
        of_earlier = self.earlier.keys(index)
        of_new = self.new.keys(positions[~is_earlier] - self.first)
        key, value = (torch.cat(pair, 1) for pair in zip(of_earlier, of_new, strict=True))
        return key, value

    def of_leaves(
        self, gradients: Gradients, positions: Sequence[int], chosen: Sequence[int]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Empty: what decodes has no gradients."""
        return {}
