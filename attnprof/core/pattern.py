"""Which keys each query attends to: all, or a window with dilation and global positions.

The definition is `AttentionPattern.mask_at`; `AttentionPattern.pairs` counts the same pairs in
closed form. Sources: Longformer, arXiv 2004.05150, section 3.1; for causal windows, transformers'
`sliding_window`; for attention sinks, StreamingLLM, arXiv 2309.17453, section 3.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from attnprof.core.arguments import elements_of, whole_number
from attnprof.core.errors import UsageError
from attnprof.core.pair_counts import HeadBand, sink_pairs, symmetric_global_pairs
from attnprof.core.units import counted, format_tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HEADS = "must be a positive whole number"

_WINDOW = "must be an even number of keys, 2 or more, half of them on each side of a query"

_CAUSAL_WINDOW = "must be a number of keys, 1 or more, the query's own among them"

_SIDES = "must be the keys before and after a query, two whole numbers, such as (255, 0)"

_DILATION = "must be a stride of 1 (no dilation) or more for each head"

_POSITIONS = "must be positions, counted from 0"

_TOKENS = "must be a positive whole number of tokens"

_QUERIES = "must be a positive whole number of queries, at most the tokens of the sequence"


class Pattern(Protocol):
    """The pattern of one layer or of a stack of layers."""

    @property
    def layers(self) -> tuple[AttentionPattern, ...]:
        """The pattern of each layer, bottom first."""
        ...

    @property
    def num_heads(self) -> int:
        """Heads of each layer."""
        ...

    @property
    def causal(self) -> bool:
        """Whether no query attends to a later key."""
        ...

    def pairs(self, seq_len: int, queries: int | None = None) -> int:
        """The number of attended pairs, (head, query, key), in all layers together."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPattern:
    """The attention pattern of one layer. Create it with `dense` or `sliding`.

    Values are equal and hashable by content. A pattern holds for any length that contains its
    global positions. Source: Longformer, arXiv 2004.05150, section 3.1.

    Attributes:
        num_heads: heads of the layer.
        left: keys before a query that it attends to; None if it attends to all of them.
        right: keys after it; None for all, 0 if the pattern is causal.
        dilation: for each head, the stride in tokens between the keys; 1 is no dilation (the
            paper's tables write 0).
        global_positions: positions, counted from 0, ascending, each once. These tokens attend to
            all tokens and all tokens attend to them. In a causal pattern they are attention sinks:
            all later queries attend to them.
        causal: whether no query attends to a later key.

    Raises:
        UsageError: (a `ValueError`) if a value is not what its description says.
    """

    num_heads: int
    left: int | None = None
    right: int | None = None
    dilation: tuple[int, ...] = ()
    global_positions: tuple[int, ...] = ()
    causal: bool = False

    @classmethod
    def dense(cls, num_heads: int = 12, *, causal: bool = False) -> AttentionPattern:
        """Every query attends to every key, or to its own and every earlier one.

        Args:
            num_heads: heads of the layer.
            causal: whether no query attends to a later key.
        """
        return cls(num_heads=num_heads, right=0 if causal else None, causal=causal)

    @classmethod
    def sliding(
        cls,
        window: int | tuple[int, int] = 512,
        dilation: int | Sequence[int] = 1,
        global_positions: Sequence[int] = (),
        num_heads: int = 12,
        *,
        causal: bool = False,
    ) -> AttentionPattern:
        """A query attends to a window of keys and to all global tokens.

        Args:
            window: keys on both sides of a query together, an even number, 2 or more, half of them
                on each side, not counting its own position (as in Longformer). In a causal
                pattern: the query's own key and those before it, 1 or more (as transformers'
                `sliding_window`). A pair is the keys before and after a query, without its own.
            dilation: the stride in tokens between neighbouring keys; one value, or a sequence or
                array with one for each head.
            global_positions: positions of the global tokens, counted from 0.
            num_heads: heads of the layer.
            causal: whether no query attends to a later key.

        Raises:
            UsageError: (a `ValueError`) if a value is not what its description says.
        """
        heads = whole_number("num_heads", num_heads, 1, _HEADS)
        strides = dilation if isinstance(dilation, Iterable) else (dilation,) * heads
        left, right = _sides(window, causal=causal)
        return cls(
            num_heads=heads,
            left=left,
            right=right,
            dilation=cast("tuple[int, ...]", strides),
            global_positions=cast("tuple[int, ...]", global_positions),
            causal=causal,
        )

    def __post_init__(self) -> None:
        heads = whole_number("num_heads", self.num_heads, 1, _HEADS)
        object.__setattr__(self, "num_heads", heads)
        strides = tuple(
            whole_number("dilation", stride, 1, _DILATION)
            for stride in elements_of("dilation", self.dilation, _DILATION)
        )
        strides = strides or (1,) * heads
        if len(strides) != heads:
            text = ":".join(map(str, strides))
            raise UsageError(
                "dilation",
                text,
                f"has {counted(len(strides), 'stride')}; give one, or one for each of the "
                f"{counted(heads, 'head')}",
            )
        object.__setattr__(self, "dilation", strides)
        positions = {
            whole_number("global_positions", position, 0, _POSITIONS)
            for position in elements_of("global_positions", self.global_positions, _POSITIONS)
        }
        object.__setattr__(self, "global_positions", tuple(sorted(positions)))

    @property
    def is_dense(self) -> bool:
        """Whether, at any length, every query attends to every key, or to every earlier one."""
        return self.left is None

    @property
    def window(self) -> int | None:
        """The window as a number of keys; None if dense.

        Keys on both sides of a query, without its own; in a causal pattern, with its own.
        """
        if self.left is None or self.right is None:
            return None
        return self.left + self.right + (1 if self.causal else 0)

    @property
    def symmetric_globals(self) -> tuple[int, ...]:
        """Positions of tokens that attend to all tokens, with their own projections.

        Those of `global_positions`, except that a causal pattern has none.
        """
        return () if self.causal else self.global_positions

    @property
    def layers(self) -> tuple[AttentionPattern, ...]:
        """This layer alone."""
        return (self,)

    @property
    def last_position(self) -> int:
        """The largest global position; -1 if there is none."""
        return self.global_positions[-1] if self.global_positions else -1

    def sides(self, seq_len: int) -> tuple[int, int]:
        """Keys before and after a query, in steps; at most as many as the sequence has tokens."""
        left = seq_len if self.left is None else min(self.left, seq_len)
        right = seq_len if self.right is None else min(self.right, seq_len)
        return left, right

    def pairs(self, seq_len: int, queries: int | None = None) -> int:
        """The exact number of attended pairs, (head, query, key) triples, in closed form.

        The time it takes does not depend on the length.

        Args:
            seq_len: tokens in the sequence, all of them keys.
            queries: how many of the last tokens are queries; None for all.

        Raises:
            UsageError: (a `ValueError`) if a global position is outside the sequence, or there
                are more queries than tokens.
        """
        seq_len, rows = self._check_queries(seq_len, queries)
        left, right = self.sides(seq_len)
        count_globals = sink_pairs if self.causal else symmetric_global_pairs
        pairs = 0
        for stride, heads in Counter(self.dilation).items():
            band = HeadBand(left=left, right=right, stride=stride, keys=seq_len, queries=rows)
            pairs += heads * (band.pairs() + count_globals(band, self.global_positions))
        return pairs

    def mask(self, seq_len: int) -> NDArray[np.bool_]:
        """The enumerated pattern: bool `(num_heads, seq_len, seq_len)`, true at attended pairs.

        The second dimension is the query, the third the key.

        Raises:
            UsageError: (a `ValueError`) if a global position is outside the sequence.
        """
        return self.mask_rows(seq_len, 0, seq_len)

    def mask_rows(self, seq_len: int, start: int, stop: int) -> NDArray[np.bool_]:
        """Rows `start` to `stop - 1` of `mask`: bool `(num_heads, stop - start, seq_len)`."""
        import numpy as np

        return self.mask_at(seq_len, np.arange(start, stop), np.arange(seq_len))

    def mask_at(
        self, seq_len: int, queries: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """`mask` at some positions of queries and of keys: bool `(num_heads, queries, keys)`.

        Args:
            seq_len: tokens in the sequence.
            queries: positions of queries, `(queries,)`.
            keys: positions of keys, `(keys,)`.

        Raises:
            UsageError: (a `ValueError`) if a global position is outside the sequence.
        """
        import numpy as np

        self._check_length(seq_len)
        left, right = self.sides(seq_len)
        after = keys[None, :] - queries[:, None]
        in_window = {
            stride: (after % stride == 0) & (after >= -left * stride) & (after <= right * stride)
            for stride in set(self.dilation)
        }
        mask = np.stack([in_window[stride] for stride in self.dilation])
        is_global_key = np.isin(keys, self.global_positions)
        if self.causal:
            mask |= is_global_key & (after <= 0)
        else:
            mask[:, :, is_global_key] = True
            mask[:, np.isin(queries, self.global_positions), :] = True
        return mask

    def _check_queries(self, seq_len: int, queries: int | None) -> tuple[int, int]:
        """The length, and the number of queries, which is at most that."""
        seq_len = self._check_length(seq_len)
        rows = seq_len if queries is None else whole_number("queries", queries, 1, _QUERIES)
        if rows > seq_len:
            raise UsageError("queries", rows, _QUERIES)
        return seq_len, rows

    def _check_length(self, seq_len: int) -> int:
        seq_len = whole_number("seq_len", seq_len, 1, _TOKENS)
        if self.last_position >= seq_len:
            raise UsageError(
                "global_positions",
                self.last_position,
                f"is outside a sequence of {format_tokens(seq_len)}",
            )
        return seq_len


def _sides(window: object, *, causal: bool) -> tuple[int, int]:
    """Keys before and after a query, from a window.

    Raises:
        UsageError: if the window is neither a number nor a pair, or has keys after the query in a
            causal pattern.
    """
    if isinstance(window, Iterable):
        pair = elements_of("window", window, _SIDES)
        if len(pair) != 2:
            raise UsageError("window", window, _SIDES)
        left, right = (whole_number("window", side, 0, _SIDES) for side in pair)
        if causal and right:
            expected = f"must have no keys after a query in a causal pattern, as ({left}, 0)"
            raise UsageError("window", window, expected)
        return left, right
    if causal:
        return whole_number("window", window, 1, _CAUSAL_WINDOW) - 1, 0
    keys = whole_number("window", window, 2, _WINDOW)
    if keys % 2:
        raise UsageError("window", keys, _WINDOW)
    return keys // 2, keys // 2
