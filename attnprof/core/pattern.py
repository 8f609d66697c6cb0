"""Which keys each query attends to: all, or a sliding window with dilation and global positions.

The definition is `AttentionPattern.mask_at`; `AttentionPattern.pairs` counts the same pairs in
closed form. Source: Longformer, arXiv 2004.05150, section 3.1.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, SupportsIndex, cast

from attnprof.core.errors import UsageError
from attnprof.core.units import counted, format_tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HEADS = "must be a positive whole number"

_WINDOW = "must be an even number of keys, 2 or more, half of them on each side of a query"

_DILATION = "must be a stride of 1 (no dilation) or more for each head"

_POSITIONS = "must be positions, counted from 0"

_TOKENS = "must be a positive whole number of tokens"


def whole_number(argument: str, value: object, minimum: int, expected: str) -> int:
    """An int from an integer of any type, such as numpy's.

    Args:
        argument: the argument's name, for messages.
        value: what was passed.
        minimum: the smallest valid value.
        expected: what would be valid, for messages.

    Raises:
        UsageError: if the value is not an integer, is a bool, or is below `minimum`.
    """
    try:
        # numpy's bool supports __index__, too.
        number = (
            None if "bool" in type(value).__name__ else operator.index(cast("SupportsIndex", value))
        )
    except TypeError:
        number = None
    if number is None or number < minimum:
        raise UsageError(argument, value, expected)
    return number


def _values(argument: str, value: object, expected: str) -> list[object]:
    """The elements of a sequence, an array or a range.

    Raises:
        UsageError: if the value is not iterable, or is text.
    """
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return list(cast("Iterable[object]", value))
    raise UsageError(argument, value, expected)


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

    def pairs(self, seq_len: int) -> int:
        """The number of attended pairs, (head, query, key), in all layers together."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPattern:
    """The attention pattern of one layer. Create it with `dense` or `sliding`.

    Values are equal and hashable by content. A pattern holds for any length that contains its
    global positions. Source: Longformer, arXiv 2004.05150, section 3.1.

    Attributes:
        num_heads: heads of the layer.
        window: keys around a query that it attends to, even: w/2 on each side, not counting the
            query's own position (as in the paper and in transformers). None if every token attends
            to every token.
        dilation: for each head, the stride in tokens between the keys; 1 is no dilation (the
            paper's tables write 0).
        global_positions: positions, counted from 0, of tokens that attend to all tokens and that
            all tokens attend to; ascending, each once.

    Raises:
        UsageError: (a `ValueError`) if a value is not what its description says.
    """

    num_heads: int
    window: int | None
    dilation: tuple[int, ...]
    global_positions: tuple[int, ...]

    @classmethod
    def dense(cls, num_heads: int = 12) -> AttentionPattern:
        """Every query attends to every key.

        Args:
            num_heads: heads of the layer.
        """
        heads = whole_number("num_heads", num_heads, 1, _HEADS)
        return cls(num_heads=heads, window=None, dilation=(1,) * heads, global_positions=())

    @classmethod
    def sliding(
        cls,
        window: int = 512,
        dilation: int | Sequence[int] = 1,
        global_positions: Sequence[int] = (),
        num_heads: int = 12,
    ) -> AttentionPattern:
        """A query attends to itself, w/2 keys on each side of it, and all global tokens.

        A global token attends to all tokens.

        Args:
            window: keys on both sides together, an even number, 2 or more.
            dilation: the stride in tokens between neighbouring keys; one value, or a sequence or
                array with one for each head.
            global_positions: positions of the global tokens, counted from 0.
            num_heads: heads of the layer.

        Raises:
            UsageError: (a `ValueError`) if a value is not what its description says.
        """
        heads = whole_number("num_heads", num_heads, 1, _HEADS)
        strides = dilation if isinstance(dilation, Iterable) else (dilation,) * heads
        return cls(
            num_heads=heads,
            window=window,
            dilation=cast("tuple[int, ...]", strides),
            global_positions=cast("tuple[int, ...]", global_positions),
        )

    def __post_init__(self) -> None:
        heads = whole_number("num_heads", self.num_heads, 1, _HEADS)
        object.__setattr__(self, "num_heads", heads)
        if self.window is not None:
            window = whole_number("window", self.window, 2, _WINDOW)
            if window % 2:
                raise UsageError("window", window, _WINDOW)
            object.__setattr__(self, "window", window)
        strides = tuple(
            whole_number("dilation", stride, 1, _DILATION)
            for stride in _values("dilation", self.dilation, _DILATION)
        )
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
            for position in _values("global_positions", self.global_positions, _POSITIONS)
        }
        object.__setattr__(self, "global_positions", tuple(sorted(positions)))

    @property
    def is_dense(self) -> bool:
        """Whether every query attends to every key by definition, at any length."""
        return self.window is None

    @property
    def layers(self) -> tuple[AttentionPattern, ...]:
        """This layer alone."""
        return (self,)

    @property
    def last_position(self) -> int:
        """The largest global position; -1 if there is none."""
        return self.global_positions[-1] if self.global_positions else -1

    def pairs(self, seq_len: int) -> int:
        """The exact number of attended pairs, (head, query, key) triples, in closed form.

        The time it takes does not depend on the length.

        Args:
            seq_len: tokens in the sequence.

        Raises:
            UsageError: (a `ValueError`) if a global position is outside the sequence.
        """
        seq_len = self._check_length(seq_len)
        if self.window is None:
            return self.num_heads * seq_len**2
        heads_by_stride = Counter(self.dilation)
        return sum(
            heads * self._pairs_of_head(seq_len, self.window // 2, stride)
            for stride, heads in heads_by_stride.items()
        )

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
        if self.window is None:
            return np.ones((self.num_heads, len(queries), len(keys)), dtype=np.bool_)
        distance = np.abs(queries[:, None] - keys[None, :])
        in_window = {
            stride: (distance % stride == 0) & (distance <= self.window // 2 * stride)
            for stride in set(self.dilation)
        }
        mask = np.stack([in_window[stride] for stride in self.dilation])
        mask[:, :, np.isin(keys, self.global_positions)] = True
        mask[:, np.isin(queries, self.global_positions), :] = True
        return mask

    def _check_length(self, seq_len: int) -> int:
        seq_len = whole_number("seq_len", seq_len, 1, _TOKENS)
        if self.last_position >= seq_len:
            raise UsageError(
                "global_positions",
                self.last_position,
                f"is outside a sequence of {format_tokens(seq_len)}",
            )
        return seq_len

    def _pairs_of_head(self, seq_len: int, half_window: int, stride: int) -> int:
        """|window + rows of G + columns of G|, each pair once, by inclusion and exclusion."""
        # n + 2 * sum over k = 1..K of (n - s*k), where K stops at the last key inside the sequence.
        steps = min(half_window, (seq_len - 1) // stride)
        window_pairs = seq_len + 2 * steps * seq_len - stride * steps * (steps + 1)
        positions = self.global_positions
        rows_and_columns = len(positions) * (2 * seq_len - len(positions))
        # The row and the column of a global position have equally many pairs inside the window.
        rows_in_window = sum(
            1
            + min(half_window, position // stride)
            + min(half_window, (seq_len - 1 - position) // stride)
            for position in positions
        )
        shared = 2 * rows_in_window - self._global_pairs_in_window(half_window, stride)
        return window_pairs + rows_and_columns - shared

    def _global_pairs_in_window(self, half_window: int, stride: int) -> int:
        """Pairs (query, key) inside the window of which both are global, themselves included."""
        by_residue: dict[int, list[int]] = {}
        for position in self.global_positions:
            by_residue.setdefault(position % stride, []).append(position)
        pairs = 0
        for same_residue in by_residue.values():
            for index, position in enumerate(same_residue):
                following = bisect_right(same_residue, position + half_window * stride) - index - 1
                pairs += 1 + 2 * following
        return pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionStack:
    """Layers that run one after the other, each with its own pattern, such as a window per layer.

    Attributes:
        layers: the pattern of each layer, bottom first.

    Raises:
        UsageError: (a `ValueError`) if there is no layer, or if layers differ in their number of
            heads or in their global positions: global is a property of a token, in all layers.
    """

    layers: tuple[AttentionPattern, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise UsageError("layers", "()", "needs at least one layer")
        if len({layer.num_heads for layer in self.layers}) > 1:
            heads = ":".join(str(layer.num_heads) for layer in self.layers)
            raise UsageError("num_heads", heads, "must be the same in all layers of a stack")
        if len({layer.global_positions for layer in self.layers}) > 1:
            raise UsageError(
                "global_positions", "differ", "must be the same in all layers of a stack"
            )

    @property
    def num_heads(self) -> int:
        """Heads of each layer."""
        return self.layers[0].num_heads

    def pairs(self, seq_len: int) -> int:
        """The exact number of attended pairs, (head, query, key), in all layers together.

        Raises:
            UsageError: (a `ValueError`) if a global position is outside the sequence.
        """
        layers = Counter(self.layers)
        return sum(count * layer.pairs(seq_len) for layer, count in layers.items())
