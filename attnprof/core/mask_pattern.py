"""The pattern of a layer whose mask is a function of head, query and key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnprof.core.mask_counts import mask_counts
from attnprof.core.mask_function import MaskFunction
from attnprof.core.pattern import AttentionPattern, Pattern

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPattern(AttentionPattern):
    """Any pattern, by its mask function. There is no closed form: pairs are counted.

    Attributes:
        function: which keys a query attends to.
        depends_on_head: whether heads differ.
        causal: whether no query attends to a later key, which is a property of the function.
    """

    function: MaskFunction
    depends_on_head: bool = False

    @property
    def is_dense(self) -> bool:
        """False: what a mask function lets through is not known without evaluating it."""
        return False

    @property
    def window(self) -> None:
        """None: it has no window."""
        return None

    def pairs(self, seq_len: int, queries: int | None = None) -> int:
        """The exact number of attended pairs, (head, query, key) triples, counted block by block.

        The time grows with the square of the length; each length is counted once in a process.

        Args:
            seq_len: tokens in the sequence, all of them keys.
            queries: how many of the last tokens are queries; None for all.

        Raises:
            UsageError: (a `ValueError`) if there are more queries than tokens.
            MeasurementError: if the length is too long to evaluate all pairs.
        """
        seq_len, rows = self._check_queries(seq_len, queries)
        return mask_counts(self.function, self.num_heads, seq_len, rows).pairs

    def mask_at(
        self, seq_len: int, queries: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """`mask` at some positions of queries and of keys: bool `(num_heads, queries, keys)`."""
        import numpy as np

        seq_len = self._check_length(seq_len)
        mask = self.function.attended(seq_len, self.num_heads, queries, keys)
        return np.broadcast_to(mask, (self.num_heads, *mask.shape[1:])).copy()


def mask_layers(pattern: Pattern) -> Sequence[MaskPattern]:
    """The layers of a pattern that have a mask function."""
    return [layer for layer in pattern.layers if isinstance(layer, MaskPattern)]


def format_mask(pattern: Pattern) -> str:
    """The mask function as `--pattern` accepts it; empty without one."""
    layers = mask_layers(pattern)
    return layers[0].function.text if layers else ""
