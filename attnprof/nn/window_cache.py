"""A cache of keys and values that holds no more than the windows of later tokens, and sinks.

Each layer has what its pattern lets a later query attend to: the last keys, as many as its window
spans, and the attention sinks before them. Sources: the rolling buffer of Mistral 7B, arXiv
2310.06825, section 2; attention sinks, StreamingLLM, arXiv 2309.17453, section 3.2.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from attnprof.core.blocks import consecutive
from attnprof.core.errors import UsageError
from attnprof.core.pattern import AttentionPattern


@dataclass(frozen=True, slots=True)
class HeldTokens:
    """The tokens in one layer of a cache: some early ones, and all from a position on.

    Attributes:
        sinks: positions before `start`, ascending.
        start: the first position from which on there are no gaps.
        seq_len: tokens so far.
    """

    sinks: tuple[int, ...] = ()
    start: int = 0
    seq_len: int = 0

    @classmethod
    def of(cls, pattern: AttentionPattern, seq_len: int) -> HeldTokens:
        """Those of a sequence to which the token after it or a later one attends."""
        if pattern.left is None:
            return cls(seq_len=seq_len)
        start = max(0, seq_len - pattern.left * max(pattern.dilation))
        sinks = pattern.global_positions
        return cls(sinks[: bisect_left(sinks, start)], start, seq_len)

    def __len__(self) -> int:
        return len(self.sinks) + self.seq_len - self.start

    @property
    def positions(self) -> Sequence[int]:
        """All positions, ascending."""
        return (*self.sinks, *range(self.start, self.seq_len))

    def slices_of(self, positions: Sequence[int], window: range) -> list[slice]:
        """Where some single positions, and then a range of others, are in the cache.

        Args:
            positions: of single tokens, ascending.
            window: positions at equal distances, none before `start`.
        """
        runs = consecutive(map(self._index, positions))
        first, last = self._index(window[0]), self._index(window[-1])
        if runs and window.step == 1 and runs[-1].stop == first:
            first = runs[-1].start
            runs = runs[:-1]
        return [*(slice(run.start, run.stop) for run in runs), slice(first, last + 1, window.step)]

    def _index(self, position: int) -> int:
        if position < self.start:
            return bisect_left(self.sinks, position)
        return len(self.sinks) + position - self.start


class WindowCache:
    """The cached keys and values of several layers.

    Args:
        patterns: of the layers; each must be causal.

    Attributes:
        layers: one for each pattern.

    Raises:
        UsageError: (a `ValueError`) for a pattern that is not causal.
    """

    def __init__(self, patterns: Iterable[AttentionPattern]) -> None:
        self.layers = [WindowCacheLayer(pattern) for pattern in patterns]


class WindowCacheLayer:
    """The cached keys and values of one layer.

    Args:
        pattern: its pattern, with global tokens as attention sinks.

    Attributes:
        keys: `(batch, kv_heads, held, head_dim)`; None if empty.
        values: `(batch, kv_heads, held, value_dim)`.
        held: the tokens that they are of.

    Raises:
        UsageError: (a `ValueError`) if the pattern is not causal.
    """

    def __init__(self, pattern: AttentionPattern) -> None:
        if not pattern.causal:
            raise UsageError("causal", False, "must be True to decode with a cache")
        self.pattern = pattern
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.held = HeldTokens()

    def update(self, key: Tensor, value: Tensor) -> None:
        """Add tokens, and drop those to which neither they nor later ones attend.

        Args:
            key: of the new tokens, `(batch, kv_heads, new, head_dim)`.
            value: `(batch, kv_heads, new, value_dim)`.
        """
        before = self.held
        kept = HeldTokens.of(self.pattern, before.seq_len)
        if self.keys is not None and self.values is not None and len(kept):
            slices = before.slices_of(kept.sinks, range(kept.start, kept.seq_len))
            key = torch.cat([*(self.keys[:, :, part] for part in slices), key], 2)
            value = torch.cat([*(self.values[:, :, part] for part in slices), value], 2)
        new = key.shape[2] - len(kept)
        self.keys, self.values = key, value
        self.held = HeldTokens(kept.sinks, kept.start, before.seq_len + new)


@dataclass(frozen=True, slots=True)
class HeadGroup:
    """Neighbouring query heads of one stride that share whole heads of keys, or one of them.

    Attributes:
        stride: tokens between neighbouring keys.
        queries: the query heads.
        keys: the heads of keys and values.
    """

    stride: int
    queries: range
    keys: range


def head_groups(dilation: Sequence[int], kv_heads: int) -> list[HeadGroup]:
    """The heads of a layer in groups that can be computed at once, as few as possible.

    Args:
        dilation: the stride of each query head.
        kv_heads: heads of keys, each shared by as many query heads.
    """
    shared = len(dilation) // kv_heads
    groups: list[HeadGroup] = []
    for kv_head in range(kv_heads):
        for run in _equal_runs(dilation, range(kv_head * shared, (kv_head + 1) * shared)):
            group = HeadGroup(dilation[run.start], run, range(kv_head, kv_head + 1))
            if groups and _are_alike(groups[-1], group, shared):
                queries = range(groups[-1].queries.start, run.stop)
                group = HeadGroup(
                    group.stride, queries, range(groups.pop().keys.start, kv_head + 1)
                )
            groups.append(group)
    return groups


def _equal_runs(dilation: Sequence[int], heads: range) -> Iterator[range]:
    start = heads.start
    for head in heads:
        if head + 1 == heads.stop or dilation[head + 1] != dilation[head]:
            yield range(start, head + 1)
            start = head + 1


def _are_alike(before: HeadGroup, group: HeadGroup, shared: int) -> bool:
    """Whether both have all query heads of their heads of keys, and the same stride."""
    are_whole = all(len(one.queries) == shared * len(one.keys) for one in (before, group))
    return are_whole and before.stride == group.stride


def attended_keys(
    pattern: AttentionPattern, stride: int, query: int
) -> tuple[tuple[int, ...], range]:
    """Positions of the attention sinks outside a query's window, and of the keys in its window."""
    steps = query // stride
    if pattern.left is not None:
        steps = min(steps, pattern.left)
    window = range(query - steps * stride, query + 1, stride)
    sinks = pattern.global_positions
    outside = (p for p in sinks[: bisect_left(sinks, query)] if p not in window)
    return tuple(outside), window


def decode_attention(query: Tensor, layer: WindowCacheLayer, *, scale: float) -> Tensor:
    """Attention of the newest tokens in a cache, each against the keys that it attends to only.

    Args:
        query: `(batch, new, heads, head_dim)`.
        layer: with the keys and values of the new tokens and of those to which they attend.
        scale: factor of the scores.

    Returns:
        `(batch, new, heads, value_dim)`.
    """
    keys, values, held = layer.keys, layer.values, layer.held
    assert keys is not None
    assert values is not None
    batch, new, heads, _ = query.shape
    output = query.new_empty(batch, new, heads, values.shape[3])
    for group in head_groups(layer.pattern.dilation, keys.shape[1]):
        of_group = slice(group.queries.start, group.queries.stop)
        key, value = (tensor[:, group.keys.start : group.keys.stop] for tensor in (keys, values))
        for token in range(new):
            position = held.seq_len - new + token
            sinks, window = attended_keys(layer.pattern, group.stride, position)
            slices = held.slices_of(sinks, window)
            # The query heads of a group share their keys, as the queries of one head do.
            attended = functional.scaled_dot_product_attention(
                query[:, token, of_group].unflatten(1, (len(group.keys), -1)),
                gathered(key, slices),
                gathered(value, slices),
                scale=scale,
            )
            output[:, token, of_group] = attended.flatten(1, 2)
    return output


def gathered(tensor: Tensor, slices: Sequence[slice]) -> Tensor:
    """The keys or values in slices: a view of one, a copy of several."""
    parts = [tensor[:, :, part] for part in slices]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)
