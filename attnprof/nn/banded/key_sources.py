"""Where the queries of a run find their keys: in the band, and at the global positions.

A source holds keys and values, cuts them and their queries into tiles, says by a bias which keys a
query does not read, and adds up the gradients of its tiles. Tensors of some heads of one sequence
are `(heads, tokens, ...)`, their chains one behind the other; tiles are `(heads, tiles, tokens,
...)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from attnprof.nn.banded.tile_kernels import Bias
from attnprof.nn.banded.tile_views import query_tiles, tiles_of
from attnprof.nn.banded.tiling import ChainGroup, TileRun


class KeySource(Protocol):
    """Some of the keys that queries read."""

    @property
    def key(self) -> Tensor:
        """The keys `(heads, tokens, head_dim)`."""
        ...

    @property
    def value(self) -> Tensor:
        """The values, shaped as the keys."""
        ...

    def queries(self, tensor: Tensor, run: TileRun) -> Tensor:
        """A run's queries, or what belongs to them, in the tiles of this source."""
        ...

    def keys(self, tensor: Tensor, run: TileRun) -> Tensor:
        """The keys or values that these tiles read: a view."""
        ...

    def bias(self, run: TileRun) -> Bias:
        """Which keys of its tile a query does not read."""
        ...

    def add_gradient(self, total: Tensor, gradient: Tensor, run: TileRun) -> None:
        """Adds the gradient of these tiles to that of the keys or values."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BandKeys:
    """The keys around a query.

    Attributes:
        key: `(heads, tokens, head_dim)`.
        value: shaped as the keys.
        window: keys around a query, w/2 on each side.
        padding: 0, and -inf for keys that nobody reads, `(1, tokens)`; None where there are none.
    """

    key: Tensor
    value: Tensor
    window: int
    padding: Tensor | None

    def queries(self, tensor: Tensor, run: TileRun) -> Tensor:
        """See `KeySource`."""
        return query_tiles(tensor, run)

    def keys(self, tensor: Tensor, run: TileRun) -> Tensor:
        """See `KeySource`."""
        return tiles_of(tensor, run.first_key, run.keys, run)

    def bias(self, run: TileRun) -> Bias:
        """See `KeySource`."""
        columns: list[tuple[int, Tensor]] = []
        if run.band_offset is not None:
            before = run.queries - run.band_offset - 1
            if before > 0:
                columns.append((0, self._unread(run.queries, before).tril_(-run.band_offset - 1)))
            behind = self.window - run.band_offset + 1
            if behind < run.keys:
                columns.append((behind, self._unread(run.queries, run.keys - behind).triu_()))
        if self.padding is not None:
            columns.append((0, self.keys(self.padding, run)[0].unsqueeze(1)))
        return Bias(tuple(columns), every_query_has_a_key=self.padding is None)

    def _unread(self, queries: int, keys: int) -> Tensor:
        return self.key.new_full((1, queries, keys), -torch.inf)

    def add_gradient(self, total: Tensor, gradient: Tensor, run: TileRun) -> None:
        """See `KeySource`."""
        # Tiles one after the other share keys: their parts of one block each do not overlap.
        follow = run.tiles > 1 and run.spacing == run.queries
        tokens = run.queries if follow else run.keys
        for start in range(0, run.keys, tokens):
            part = gradient[:, :, start : start + tokens]
            tiles_of(total, run.first_key + start, part.shape[2], run).add_(part)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalKeys:
    """The keys of global tokens, but not for queries in whose band they lie.

    Attributes:
        key: `(heads, globals, head_dim)`.
        value: shaped as the keys.
        positions: of the global tokens, ascending.
        window: keys around a query, w/2 on each side.
        chains: to which the queries belong.
        padding: 0, and -inf for keys that nobody reads, `(1, globals)`; None where there are none.
    """

    key: Tensor
    value: Tensor
    positions: tuple[int, ...]
    window: int
    chains: ChainGroup
    padding: Tensor | None

    def queries(self, tensor: Tensor, run: TileRun) -> Tensor:
        """See `KeySource`."""
        return query_tiles(tensor, run).flatten(1, 2).unsqueeze(1)

    def keys(self, tensor: Tensor, run: TileRun) -> Tensor:
        """See `KeySource`."""
        return tensor.unsqueeze(1)

    def bias(self, run: TileRun) -> Bias:
        """See `KeySource`."""
        columns: list[tuple[int, Tensor]] = []
        meets_band = self._meets_band(run)
        if meets_band:
            distance = self._query_positions(run)[:, None] - self._tensor(self.positions)
            stride = self.chains.dilation
            is_read = (distance % stride == 0) & (distance.abs() <= self.window // 2 * stride)
            unread = self.key.new_zeros(is_read.shape).masked_fill_(is_read, -torch.inf)
            columns.append((0, unread.unsqueeze(0)))
        if self.padding is not None:
            columns.append((0, self.padding.unsqueeze(1)))
        return Bias(tuple(columns), every_query_has_a_key=not columns)

    def add_gradient(self, total: Tensor, gradient: Tensor, run: TileRun) -> None:
        """See `KeySource`."""
        total.add_(gradient.squeeze(1))

    def _meets_band(self, run: TileRun) -> bool:
        """Whether some query of the run may have a global token in its band."""
        chains, reach = self.chains, self.window // 2
        first = chains.first + chains.dilation * (run.first_query % chains.length - reach)
        last = chains.first + chains.dilation * (run.last_query % chains.length + reach)
        return any(first <= position < last + chains.count for position in self.positions)

    def _query_positions(self, run: TileRun) -> Tensor:
        tile = self._tensor(range(run.tiles)) * run.spacing
        token = tile[:, None] + self._tensor(range(run.queries)) + run.first_query
        chains = self.chains
        chain, index = token // chains.length, token % chains.length
        return (chains.first + chain + chains.dilation * index).flatten()

    def _tensor(self, numbers: range | tuple[int, ...]) -> Tensor:
        if isinstance(numbers, range):
            return torch.arange(len(numbers), dtype=torch.int32, device=self.key.device)
        return torch.tensor(numbers, dtype=torch.int32, device=self.key.device)
