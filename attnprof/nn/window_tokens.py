"""Which tokens a `WindowCache` holds, and which of them a new token attends to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attnprof.core.blocks import consecutive
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
            window: positions at equal distances, none before `start`; may be empty.
        """
        runs = consecutive(map(self._index, positions))
        if not window:
            return [slice(run.start, run.stop) for run in runs]
        first, last = self._index(window[0]), self._index(window[-1])
        if runs and window.step == 1 and runs[-1].stop == first:
            first = runs[-1].start
            runs = runs[:-1]
        return [*(slice(run.start, run.stop) for run in runs), slice(first, last + 1, window.step)]

    def _index(self, position: int) -> int:
        if position < self.start:
            return bisect_left(self.sinks, position)
        return len(self.sinks) + position - self.start


@dataclass(frozen=True, slots=True)
class SharedHeads:
    """Neighbouring query heads of one stride, and the heads of keys that they share.

    Attributes:
        stride: tokens between neighbouring keys.
        queries: the query heads.
        keys: the heads of keys and values.
    """

    stride: int
    queries: range
    keys: range


def shared_heads(dilation: Sequence[int], kv_heads: int) -> list[SharedHeads]:
    """The heads of a layer in groups that can be computed at once, as few as possible.

    Args:
        dilation: the stride of each query head.
        kv_heads: heads of keys, each shared by as many query heads.
    """
    shared = len(dilation) // kv_heads
    groups: list[SharedHeads] = []
    for kv_head in range(kv_heads):
        for run in _equal_runs(dilation, range(kv_head * shared, (kv_head + 1) * shared)):
            group = SharedHeads(dilation[run.start], run, range(kv_head, kv_head + 1))
            if groups and _are_alike(groups[-1], group, shared):
                queries = range(groups[-1].queries.start, run.stop)
                group = SharedHeads(
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


def _are_alike(before: SharedHeads, group: SharedHeads, shared: int) -> bool:
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
