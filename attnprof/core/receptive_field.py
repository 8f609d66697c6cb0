"""The receptive field: which tokens of the input a token can depend on after some layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attnprof.core.mask_cells import keys_of_mask
from attnprof.core.mask_pattern import MaskPattern
from attnprof.core.pattern import AttentionPattern

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def receptive_fields(layers: Iterable[AttentionPattern], seq_len: int, query: int) -> list[int]:
    """How many tokens a query of the top layer reaches after each layer below it.

    The heads of a layer reach what any of them attends to: the layer above mixes them.

    Args:
        layers: from the top layer down.
        seq_len: tokens in the sequence.
        query: position of the query.

    Returns:
        Tokens after the top layer, after the one below it as well, and so on.
    """
    import numpy as np

    reached = np.zeros(seq_len, dtype=np.bool_)
    reached[query] = True
    sizes: list[int] = []
    settled: AttentionPattern | None = None  # a layer that reaches nothing new
    for layer in layers:
        if sizes[-1:] != [seq_len] and layer != settled:
            before, reached = reached, _attended_by(reached, layer)
            settled = layer if bool((before == reached).all()) else None
        sizes.append(int(reached.sum()))
    return sizes


def _attended_by(queries: NDArray[np.bool_], layer: AttentionPattern) -> NDArray[np.bool_]:
    """The keys that any of these queries attends to, in any head `(seq_len,)`."""
    import numpy as np

    if isinstance(layer, MaskPattern):
        return keys_of_mask(layer, queries)
    if queries[list(layer.symmetric_globals)].any():
        return np.ones_like(queries)
    sides = layer.sides(len(queries))
    keys = queries.copy()
    for stride in set(layer.dilation):
        keys |= _in_window(queries, sides, stride)
    positions = [p for p in layer.global_positions if not layer.causal or queries[p:].any()]
    keys[positions] = True
    return keys


def _in_window(
    queries: NDArray[np.bool_], sides: tuple[int, int], stride: int
) -> NDArray[np.bool_]:
    """The keys in the band of any of the queries: those with a query in reach."""
    import numpy as np

    left, right = sides
    length = -(-len(queries) // stride)
    chains = np.zeros((length, stride), dtype=np.int32)
    chains.reshape(-1)[: len(queries)] = queries
    below = np.zeros((length + 1, stride), dtype=np.int32)
    np.cumsum(chains, axis=0, out=below[1:])
    index = np.arange(length)
    # A key is in the band of queries up to `left` steps after it and `right` steps before it.
    first = np.maximum(index - right, 0)
    after = np.minimum(index + left + 1, length)
    return (below[after] > below[first]).reshape(-1)[: len(queries)]
