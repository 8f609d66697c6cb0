"""The two sources of keys for a run's queries: the band, and the global positions.

A source holds keys and values, cuts them and their queries into tiles, masks by a bias the keys
that a query does not attend to, and accumulates the gradients of its tiles. Tensors of some heads
of one sequence are `(heads, tokens, ...)`, with concatenated chains; tiles are `(heads, tiles,
tokens, ...)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from attnprof.nn.banded.tile_kernels import Bias
from attnprof.nn.banded.tile_views import query_tiles, tiles_of
from attnprof.nn.banded.tiling import ChainGroup, Sides, TileRun


class KeySource(Protocol):
    """Some of the keys that queries attend to."""

    @property
    def key(self) -> Tensor:
        """The keys `(heads, tokens, head_dim)`."""
        ...

    @property
    def value(self) -> Tensor:
        """The values `(heads, tokens, value_dim)`."""
        ...

    def queries(self, tensor: Tensor, run: TileRun) -> Tensor:
        """A run's queries, or results for them, in the tiles of this source."""
        ...

    def keys(self, tensor: Tensor, run: TileRun) -> Tensor:
        """A view of the keys or values of these tiles."""
        ...

    def bias(self, run: TileRun) -> Bias:
        """Which keys of its tile a query does not attend to."""
        ...

    def add_gradient(self, total: Tensor, gradient: Tensor, run: TileRun) -> None:
        """Add the gradient of these tiles to that of all keys or values."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BandKeys:
    """The keys in the band.

    Attributes:
        key: `(heads, tokens, head_dim)`.
        value: `(heads, tokens, value_dim)`.
        span: keys before and after a query together.
        padding: added to scores, `(1, tokens)`: -inf for padded keys, else 0; None without a
            padding mask.
    """

    key: Tensor
    value: Tensor
    span: int
    padding: Tensor | None

    def queries(self, tensor: Tensor, run: TileRun) -> Tensor:
        """A view `(heads, tiles, queries, ...)`."""
        return query_tiles(tensor, run)

    def keys(self, tensor: Tensor, run: TileRun) -> Tensor:
        """A view `(heads, tiles, keys, ...)`."""
        return tiles_of(tensor, run.first_key, run.keys, run)

    def bias(self, run: TileRun) -> Bias:
        """Masks the corners of a tile that are outside the band, and padded keys."""
        columns: list[tuple[int, Tensor]] = []
        if run.band_offset is not None:
            before = run.queries - run.band_offset - 1
            if before > 0:
                columns.append((0, self._masked(run.queries, before).tril_(-run.band_offset - 1)))
            after = self.span - run.band_offset + 1
            if after < run.keys:
                columns.append((after, self._masked(run.queries, run.keys - after).triu_()))
        if self.padding is not None:
            columns.append((0, self.keys(self.padding, run)[0].unsqueeze(1)))
        return Bias(tuple(columns), every_query_has_a_key=self.padding is None)

    def _masked(self, queries: int, keys: int) -> Tensor:
        return self.key.new_full((1, queries, keys), -torch.inf)

    def add_gradient(self, total: Tensor, gradient: Tensor, run: TileRun) -> None:
        """Add the gradient of the keys or values of a run's tiles, which may overlap."""
        # Consecutive tiles share keys; if each adds one block at a time, these do not overlap.
        is_consecutive = run.tiles > 1 and run.spacing == run.queries
        tokens = run.queries if is_consecutive else run.keys
        for start in range(0, run.keys, tokens):
            part = gradient[:, :, start : start + tokens]
            tiles_of(total, run.first_key + start, part.shape[2], run).add_(part)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalKeys:
    """The keys of global tokens, masked for queries that attend to them in their band.

    In a causal band they are masked for earlier queries too.

    Attributes:
        key: `(heads, globals, head_dim)`.
        value: `(heads, globals, value_dim)`.
        positions: of the global tokens, ascending.
        sides: keys before and after a query.
        causal: whether no query attends to a later key.
        chains: the chains of the queries.
        padding: added to scores, `(1, globals)`: -inf for padded keys, else 0; None without a
            padding mask.
    """

    key: Tensor
    value: Tensor
    positions: tuple[int, ...]
    sides: Sides
    causal: bool
    chains: ChainGroup
    padding: Tensor | None

    def queries(self, tensor: Tensor, run: TileRun) -> Tensor:
        """All queries of the run as one tile, `(heads, 1, tiles * queries, ...)`."""
        return query_tiles(tensor, run).flatten(1, 2).unsqueeze(1)

    def keys(self, tensor: Tensor, run: TileRun) -> Tensor:
        """All global keys or values as one tile, a view `(heads, 1, globals, ...)`."""
        return tensor.unsqueeze(1)

    def bias(self, run: TileRun) -> Bias:
        """Masks global keys in a query's band or, if causal, after it, and padded keys."""
        columns: list[tuple[int, Tensor]] = []
        if self._needs_mask(run):
            distance = self._query_positions(run)[:, None] - self._tensor(self.positions)
            stride = self.chains.dilation
            left, right = (side * stride for side in self.sides)
            masked = (distance % stride == 0) & (distance <= left) & (distance >= -right)
            if self.causal:
                masked |= distance < 0
            bias = self.key.new_zeros(masked.shape).masked_fill_(masked, -torch.inf)
            columns.append((0, bias.unsqueeze(0)))
        if self.padding is not None:
            columns.append((0, self.padding.unsqueeze(1)))
        return Bias(tuple(columns), every_query_has_a_key=not columns)

    def add_gradient(self, total: Tensor, gradient: Tensor, run: TileRun) -> None:
        """Add the gradient of the global keys or values."""
        total.add_(gradient.squeeze(1))

    def _needs_mask(self, run: TileRun) -> bool:
        """Whether a global token may be in the band of a query of the run or, if causal, later."""
        chains, (left, right) = self.chains, self.sides
        first = chains.first + chains.dilation * (run.first_query % chains.length - left)
        last = chains.first + chains.dilation * (run.last_query % chains.length + right)
        stop = self.positions[-1] + 1 if self.causal else last + chains.count
        return any(first <= position < stop for position in self.positions)

    def _query_positions(self, run: TileRun) -> Tensor:
        """Positions in the sequence of the run's queries, `(tiles * queries,)`."""
        tile = self._tensor(range(run.tiles)) * run.spacing
        token = tile[:, None] + self._tensor(range(run.queries)) + run.first_query
        chains = self.chains
        chain, index = token // chains.length, token % chains.length
        return (chains.first + chain + chains.dilation * index).flatten()

    def _tensor(self, numbers: range | tuple[int, ...]) -> Tensor:
        if isinstance(numbers, range):
            return torch.arange(len(numbers), dtype=torch.int32, device=self.key.device)
        return torch.tensor(numbers, dtype=torch.int32, device=self.key.device)
