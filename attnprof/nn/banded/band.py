"""The band of a batch, and the keys and values of some heads of one of its sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from attnprof.nn.banded.key_sources import BandKeys, GlobalKeys, KeySource
from attnprof.nn.banded.tile_views import gather
from attnprof.nn.banded.tiling import ChainGroup, HeadGroup, Sides, head_groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Which keys the queries of a batch attend to.

    Attributes:
        sides: keys before and after a query.
        dilation: distance in tokens between neighbouring keys, one value per query head.
        causal: whether no query attends to a later key.
        global_positions: for each sequence in the batch, ascending. All queries attend to these
            tokens, or all later ones if the band is causal.
    """

    sides: Sides
    dilation: tuple[int, ...]
    causal: bool
    global_positions: tuple[tuple[int, ...], ...]

    def head_groups(self, kv_heads: int) -> Iterator[tuple[int, HeadGroup]]:
        """Every sequence, an index into the batch, with each of its groups of heads."""
        sequences = range(len(self.global_positions))
        return product(sequences, head_groups(self.dilation, kv_heads))


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceKeys:
    """The keys and values of some heads of one sequence.

    Attributes:
        key: `(heads, seq_len, head_dim)`.
        value: `(heads, seq_len, value_dim)`.
        padding: added to scores, `(1, seq_len)`: -inf for padded keys, else 0; None without a
            padding mask.
        band: which keys the queries attend to.
        global_positions: ascending.
        global_index: the same as a tensor `(globals,)`.
        global_key: the keys at global positions, `(heads, globals, head_dim)`.
        global_value: the values at global positions, `(heads, globals, value_dim)`.
    """

    key: Tensor
    value: Tensor
    padding: Tensor | None
    band: Band
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
        heads: range,
    ) -> SequenceKeys:
        """The keys of some heads of one sequence, `item`, of a batch."""
        of_heads = slice(heads.start, heads.stop)
        key, value = key[item, of_heads], value[item, of_heads]
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
            band=band,
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
                span=sum(self.band.sides),
                padding=None if self.padding is None else gather(self.padding, group),
            )
        ]
        if self.global_positions:
            sources.append(
                GlobalKeys(
                    key=self.global_key,
                    value=self.global_value,
                    positions=self.global_positions,
                    sides=self.band.sides,
                    causal=self.band.causal,
                    chains=group,
                    padding=None if self.padding is None else self.padding[:, self.global_index],
                )
            )
        return sources
