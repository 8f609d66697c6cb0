"""The band of a batch, and the keys and values of some heads of one of its sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from attnprof.nn.banded.key_sources import BandKeys, GlobalKeys, KeySource
from attnprof.nn.banded.tile_views import gather
from attnprof.nn.banded.tiling import ChainGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Which keys the queries of a batch attend to.

    Attributes:
        window: keys around a query, w/2 on each side.
        dilation: distance in tokens between neighbouring keys, one value per head.
        global_positions: for each sequence in the batch, ascending.
    """

    window: int
    dilation: tuple[int, ...]
    global_positions: tuple[tuple[int, ...], ...]

    def heads_of_sequences(self) -> Iterator[tuple[int, slice, int]]:
        """(sequence, heads, dilation) for all neighbouring heads of equal dilation."""
        for item in range(len(self.global_positions)):
            start = 0
            for dilation, heads in groupby(self.dilation):
                stop = start + len(list(heads))
                yield item, slice(start, stop), dilation
                start = stop


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceKeys:
    """The keys and values of some heads of one sequence.

    Attributes:
        key: `(heads, seq_len, head_dim)`.
        value: shaped as the key.
        padding: added to scores, `(1, seq_len)`: -inf for padded keys, else 0; None without a
            padding mask.
        window: keys around a query, w/2 on each side.
        global_positions: ascending.
        global_index: the same as a tensor `(globals,)`.
        global_key: the keys at global positions, `(heads, globals, head_dim)`.
        global_value: the values at global positions, shaped as these keys.
    """

    key: Tensor
    value: Tensor
    padding: Tensor | None
    window: int
    global_positions: tuple[int, ...]
    global_index: Tensor
    global_key: Tensor
    global_value: Tensor

    @classmethod
    def of(
        cls,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None,
        band: Band,
        item: int,
        heads: slice,
    ) -> SequenceKeys:
        """The keys of some heads of one sequence, `item`, of a batch."""
        key, value = key[item, heads], value[item, heads]
        padding = None
        if key_padding_mask is not None:
            padding = key.new_zeros((1, key.shape[1]))
            padding.masked_fill_(key_padding_mask[item], -torch.inf)
        positions = band.global_positions[item]
        index = torch.tensor(positions, dtype=torch.int64, device=key.device)
        return cls(
            key=key,
            value=value,
            padding=padding,
            window=band.window,
            global_positions=positions,
            global_index=index,
            global_key=key[:, index],
            global_value=value[:, index],
        )

    def sources(self, group: ChainGroup) -> list[KeySource]:
        """The sources of keys for the queries of some chains: the band first."""
        sources: list[KeySource] = [
            BandKeys(
                key=gather(self.key, group),
                value=gather(self.value, group),
                window=self.window,
                padding=None if self.padding is None else gather(self.padding, group),
            )
        ]
        if self.global_positions:
            sources.append(
                GlobalKeys(
                    key=self.global_key,
                    value=self.global_value,
                    positions=self.global_positions,
                    window=self.window,
                    chains=group,
                    padding=None if self.padding is None else self.padding[:, self.global_index],
                )
            )
        return sources
