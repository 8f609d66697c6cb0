"""A panel as a grid of cells: the share of attended pairs, and how often pairs are computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnprof.core.blocks import pairs_in_cells
from attnprof.core.pattern_cells import attended_pairs_in_cells
from attnprof.report.pattern.panels import Panel


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of queries by keys; the last ones end where the sequence does.

    Attributes:
        query_edges: positions at which rows begin, and the end of the last `(rows + 1,)`.
        key_edges: positions at which columns begin, and the end of the last `(columns + 1,)`.
        attended: share of attended pairs, from 0 to 1 `(rows, columns)`.
        computed: how many times a pair is computed on average, scores and context together
            counting once `(rows, columns)`; 0 without a kernel.
    """

    query_edges: NDArray[np.int64]
    key_edges: NDArray[np.int64]
    attended: NDArray[np.float64]
    computed: NDArray[np.float64]


def tokens_of_cell(seq_len: int, most_cells: int) -> int:
    """Tokens on the side of a cell, the smallest power of 2 that needs no more cells than that."""
    return 1 << (-(-seq_len // most_cells) - 1).bit_length()


def cells_of(panel: Panel, query_tokens: int, key_tokens: int) -> Cells:
    """The grid of a panel.

    Args:
        panel: a head, with or without blocks.
        query_tokens: queries of a cell.
        key_tokens: keys of a cell; it divides the queries, or the queries divide it.
    """
    tokens = min(query_tokens, key_tokens)
    edges = _edges(panel.seq_len, tokens)
    attended = attended_pairs_in_cells(panel.layer, panel.head, edges)
    twice_computed = np.zeros_like(attended)
    for part in panel.forward_blocks:
        twice_computed += (part.scores + part.context) * pairs_in_cells(part.runs, edges)
    query_edges = _edges(panel.seq_len, query_tokens)
    key_edges = _edges(panel.seq_len, key_tokens)
    sizes = np.outer(np.diff(query_edges), np.diff(key_edges))

    def merged(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = np.add.reduceat(pairs, query_edges[:-1] // tokens, axis=0)
        return np.add.reduceat(rows, key_edges[:-1] // tokens, axis=1)

    return Cells(
        query_edges, key_edges, merged(attended) / sizes, merged(twice_computed) / (2 * sizes)
    )


def _edges(seq_len: int, tokens: int) -> NDArray[np.int64]:
    return np.append(np.arange(0, seq_len, tokens, dtype=np.int64), seq_len)
