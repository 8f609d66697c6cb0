"""How many pairs of a pattern are in each cell of a grid, without the mask of n^2 elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnprof.core.pattern import AttentionPattern

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def attended_pairs_in_cells(
    layer: AttentionPattern, head: int, edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Attended pairs of one head in each cell, in closed form.

    The time depends on the number of cells and of global tokens, not on tokens.

    Args:
        layer: the pattern.
        head: index of the head.
        edges: ascending positions at which cells begin, from 0 to the length of the sequence
            `(cells + 1,)`, for queries and for keys.

    Returns:
        Pairs `(cells of queries, cells of keys)`.
    """
    import numpy as np

    sizes = np.diff(edges)
    if layer.window is None:
        return np.outer(sizes, sizes)
    stride = layer.dilation[head]
    # Keys farther than the sequence is long do not exist.
    half_window = min(layer.window // 2, int(edges[-1] - 1) // stride)
    pairs = _in_band(half_window, stride, edges)
    if layer.global_positions:
        positions = np.array(layer.global_positions, dtype=np.int64)
        in_cell = np.histogram(positions, edges)[0]
        rows_and_columns = np.outer(in_cell, sizes) + np.outer(sizes, in_cell)
        pairs += rows_and_columns - np.outer(in_cell, in_cell)
        pairs -= _global_in_band(positions, half_window, stride, edges)
    return pairs


def _in_band(half_window: int, stride: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs in the band. A cell has as many at distance d = key - query as its diagonal is long.

    That length is r(d - a) - r(d - b) - r(d - c) + r(d - e), where r(x) = max(0, x), and a, b, c
    and e are the distances at the corners of the cell. Each term is summed over the distances
    d = -w/2 s, ..., w/2 s as an arithmetic series.
    """
    import numpy as np

    corners = edges[None, :] - edges[:, None]
    first = np.clip(corners // stride + 1, -half_window, half_window + 1)
    terms = half_window + 1 - first
    series = stride * (first + half_window) * terms // 2 - corners * terms
    return -np.diff(np.diff(series, axis=0), axis=1)


def _global_in_band(
    positions: NDArray[np.int64], half_window: int, stride: int, edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Pairs in the band whose query or key is global, or both: those are not counted twice."""
    import numpy as np

    cells = len(edges) - 1
    cell_of = np.searchsorted(edges, positions, side="right") - 1
    of_row = np.zeros((cells, cells), dtype=np.int64)
    reach = half_window * stride
    # Keys of a global query: first + stride * i for 0 <= i <= w, those inside the sequence.
    first = positions[:, None] - reach
    below = np.clip(-((first - edges[None, :]) // stride), 0, 2 * half_window + 1)
    np.add.at(of_row, cell_of, np.diff(below, axis=1))
    both = np.zeros_like(of_row)
    for residue in np.unique(positions % stride):
        chosen = positions % stride == residue
        same = positions[chosen]
        # Global keys of the same residue, from the first to the last in the band.
        first_in_band = np.searchsorted(same, same - reach)[:, None]
        after_band = np.searchsorted(same, same + reach, side="right")[:, None]
        below = np.clip(np.searchsorted(same, edges)[None, :], first_in_band, after_band)
        np.add.at(both, cell_of[chosen], np.diff(below, axis=1))
    return of_row + of_row.T - both
