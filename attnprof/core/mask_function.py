"""What a pattern needs of a mask function, and masks of which only the counts are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from attnprof.core.errors import MeasurementError
from attnprof.core.masks import MaskMod
from attnprof.core.units import format_tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class MaskFunction(Protocol):
    """Which keys a query attends to, at any length. Hashable, and can be pickled."""

    @property
    def text(self) -> str:
        """As `--pattern` takes it."""
        ...

    @property
    def is_known(self) -> bool:
        """Whether it can be evaluated: not if it is a user's function of saved results."""
        ...

    def attended(
        self, seq_len: int, num_heads: int, queries: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Bool `(num_heads, queries, keys)`; `(1, queries, keys)` if it is the same in all heads.

        Args:
            seq_len: tokens in the sequence.
            num_heads: heads of the layer.
            queries: positions of queries, `(queries,)`.
            keys: positions of keys, `(keys,)`.
        """
        ...

    def mask_mod(self, seq_len: int, num_heads: int, as_table: Callable[[Any], Any]) -> MaskMod:
        """The function in FlexAttention's signature, for torch tensors.

        Args:
            seq_len: tokens in the sequence.
            num_heads: heads of the layer.
            as_table: makes a tensor of a numpy array.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskCounts:
    """What a mask lets through in all heads of one sequence.

    Attributes:
        pairs: attended pairs.
        block_scores: scores in the 128 by 128 blocks with an attended pair.
        is_causal: whether no query attends to a later key.
        has_empty_rows: whether a query attends to no key.
    """

    pairs: int
    block_scores: int
    is_causal: bool
    has_empty_rows: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMask:
    """A mask of saved results: what it lets through is known at some lengths, its code is not run.

    Attributes:
        text: as `--pattern` takes it.
        counts: what it lets through, by heads, length and queries.
        built_in: the built-in mask of that name; None for a function of the user.
    """

    text: str
    counts: Mapping[tuple[int, int, int], MaskCounts] = field(compare=False, repr=False)
    built_in: MaskFunction | None = field(default=None, compare=False, repr=False)

    @property
    def is_known(self) -> bool:
        """Whether it can be evaluated: not if it is a user's function."""
        return self.built_in is not None

    def known(self, num_heads: int, seq_len: int, queries: int) -> MaskCounts:
        """The counts at a length.

        Raises:
            MeasurementError: for a length that was not saved.
        """
        counts = self.counts.get((num_heads, seq_len, queries))
        if counts is None:
            raise MeasurementError(
                f"{self.text} is not known at {format_tokens(seq_len)} from saved results"
            )
        return counts

    def attended(
        self, seq_len: int, num_heads: int, queries: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Bool `(num_heads or 1, queries, keys)`.

        Raises:
            MeasurementError: for a function of the user.
        """
        return self._live.attended(seq_len, num_heads, queries, keys)

    def mask_mod(self, seq_len: int, num_heads: int, as_table: Callable[[Any], Any]) -> MaskMod:
        """The function in FlexAttention's signature.

        Raises:
            MeasurementError: for a function of the user.
        """
        return self._live.mask_mod(seq_len, num_heads, as_table)

    @property
    def _live(self) -> MaskFunction:
        if self.built_in is None:
            raise MeasurementError(f"{self.text} is of saved results: its code is not run")
        return self.built_in
