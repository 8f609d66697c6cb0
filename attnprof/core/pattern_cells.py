"""How many pairs of a pattern are in each cell of a grid, without the mask of n^2 elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnprof.core.mask_cells import mask_pairs_in_cells
from attnprof.core.mask_pattern import MaskPattern
from attnprof.core.pattern import AttentionPattern

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def attended_pairs_in_cells(
    layer: AttentionPattern, head: int, edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Attended pairs of one head in each cell, in closed form.

    The time depends on the number of cells and of global tokens, not on tokens; a mask function is
    evaluated at all pairs.

    Args:
        layer: the pattern.
        head: index of the head.
        edges: ascending positions at which cells begin, from 0 to the length of the sequence
            `(cells + 1,)`, for queries and for keys.

    Returns:
        Pairs `(cells of queries, cells of keys)`.
    """
    import numpy as np

    if isinstance(layer, MaskPattern):
        return mask_pairs_in_cells(layer, head, edges)
    sizes, seq_len = np.diff(edges), int(edges[-1])
    stride = layer.dilation[head]
    # Keys farther than the sequence is long do not exist.
    left, right = (min(side, (seq_len - 1) // stride) for side in layer.sides(seq_len))
    pairs = _in_band((left, right), stride, edges)
    positions = np.array(layer.global_positions, dtype=np.int64)
    if not layer.global_positions or layer.is_dense:
        return pairs
    if layer.causal:
        return pairs + _sinks_outside_band(positions, left, stride, edges)
    in_cell = np.histogram(positions, edges)[0]
    rows_and_columns = np.outer(in_cell, sizes) + np.outer(sizes, in_cell)
    pairs += rows_and_columns - np.outer(in_cell, in_cell)
    return pairs - _global_in_band(positions, (left, right), stride, edges)


def _in_band(sides: tuple[int, int], stride: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs in the band. A cell has as many at distance d = key - query as its diagonal is long.

    That length is r(d - a) - r(d - b) - r(d - c) + r(d - e), where r(x) = max(0, x), and a, b, c
    and e are the distances at the corners of the cell. Each term is summed over the distances
    d = -left s, ..., right s as an arithmetic series.
    """
    import numpy as np

    left, right = sides
    corners = edges[None, :] - edges[:, None]
    first = np.clip(corners // stride + 1, -left, right + 1)
    terms = right + 1 - first
    series = stride * (first + right) * terms // 2 - corners * terms
    return -np.diff(np.diff(series, axis=0), axis=1)


def _sinks_outside_band(
    positions: NDArray[np.int64], left: int, stride: int, edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Pairs of sinks with later queries whose band does not contain them."""
    import numpy as np

    cells = len(edges) - 1
    of_column = np.zeros((cells, cells), dtype=np.int64)
    # Queries from the sink on; those in the band are at 0, 1, ..., left steps after it.
    later = np.maximum(edges[None, :] - positions[:, None], 0)
    in_band = np.clip(-((positions[:, None] - edges[None, :]) // stride), 0, left + 1)
    cell_of = np.searchsorted(edges, positions, side="right") - 1
    np.add.at(of_column, cell_of, np.diff(later - in_band, axis=1))
    return of_column.T


def _global_in_band(
    positions: NDArray[np.int64],
    sides: tuple[int, int],
    stride: int,
    edges: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Pairs in the band whose query or key is global, or both: those are not counted twice."""
    import numpy as np

    left, right = sides
    cells = len(edges) - 1
    cell_of = np.searchsorted(edges, positions, side="right") - 1
    of_row, of_column = (np.zeros((cells, cells), dtype=np.int64) for _ in range(2))
    np.add.at(of_row, cell_of, _in_reach(positions, left, left + right, stride, edges))
    np.add.at(of_column, cell_of, _in_reach(positions, right, left + right, stride, edges))
    both = np.zeros_like(of_row)
    for residue in np.unique(positions % stride):
        chosen = positions % stride == residue
        same = positions[chosen]
        # Global keys of the same residue, from the first to the last in the band.
        first_in_band = np.searchsorted(same, same - left * stride)[:, None]
        after_band = np.searchsorted(same, same + right * stride, side="right")[:, None]
        below = np.clip(np.searchsorted(same, edges)[None, :], first_in_band, after_band)
        np.add.at(both, cell_of[chosen], np.diff(below, axis=1))
    return of_row + of_column.T - both


def _in_reach(
    positions: NDArray[np.int64], before: int, steps: int, stride: int, edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many tokens in each cell are in reach of each position `(positions, cells)`.

    These are first + stride * i for 0 <= i <= steps, where the first is `before` steps before the
    position; those inside the sequence.
    """
    import numpy as np

    first = positions[:, None] - before * stride
    below = np.clip(-((first - edges[None, :]) // stride), 0, steps + 1)
    return np.diff(below, axis=1)
