"""The source of queries, keys and values of a call that decodes: new tokens, and a cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnprof.nn.checking.definition import Gradients
from attnprof.nn.checking.sources import GivenHeads, ProjectedHeads


@dataclass(frozen=True, slots=True)
class CachedHeads:
    """Cached keys and values of one sequence.

    Attributes:
        heads: keys and values, in the order of `positions`, and any queries.
        positions: of their tokens, ascending, `(cached,)`.
    """

    heads: GivenHeads
    positions: Tensor

    def keys(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of each query head, float64 `(heads, positions, width)`.

        Raises:
            LookupError: for a token that is not in the cache.
        """
        index = torch.searchsorted(self.positions, positions).clamp(max=len(self.positions) - 1)
        if not torch.equal(self.positions[index], positions):
            raise LookupError("a key to which a new token attends is not in the cache")
        return self.heads.keys(index)


@dataclass(frozen=True, slots=True)
class DecodedHeads:
    """New tokens with projections of their hidden states, and earlier ones whose keys are cached.

    Attributes:
        new: queries, keys and values of the new tokens.
        first: position of the first of them.
        earlier: what is cached; None if nothing is.
    """

    new: ProjectedHeads
    first: int
    earlier: CachedHeads | None

    def queries(self, positions: Tensor) -> Tensor:
        """Float64 `(heads, positions, head_dim)`."""
        return self.new.queries(positions - self.first)

    def keys(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of each query head, float64 `(heads, positions, width)`."""
        is_earlier = positions < self.first
        of_new = self.new.keys(positions[~is_earlier] - self.first)
        if self.earlier is None:
            return of_new
        of_earlier = self.earlier.keys(positions[is_earlier])
        key, value = (torch.cat(pair, 1) for pair in zip(of_earlier, of_new, strict=True))
        return key, value

    def of_leaves(
        self, gradients: Gradients, positions: Sequence[int], chosen: Sequence[int]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Empty: what decodes has no gradients."""
        return {}
