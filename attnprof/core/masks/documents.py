"""Documents that are packed into one sequence and do not attend to one another.

Source: Krell et al., Efficient Sequence Packing without Cross-contamination, arXiv 2107.02027.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np

from attnprof.core.masks import MaskMod


def make_mask(
    *,
    seq_len: int,
    as_table: Callable[[Any], Any],
    lengths: tuple[int, ...] = (),
    mean: int = 512,
    causal: int = 1,
    seed: int = 0,
) -> MaskMod:
    """A query attends to the keys of its own document; if causal, to none after it.

    document[key] == document[query], and key <= query if causal.

    Args:
        seq_len: tokens.
        as_table: makes a table that positions can index.
        lengths: tokens of each document; what follows the last is one more. Without them they are
            drawn from 1 to 2 * mean - 1, each equally likely.
        mean: mean length of documents that are drawn.
        causal: 1 or 0.
        seed: of the lengths that are drawn.
    """
    draw = random.Random(seed)
    drawn = list(lengths)
    while not lengths and sum(drawn) < seq_len:
        drawn.append(draw.randint(1, 2 * mean - 1))
    ends = list(accumulate(drawn))
    table = as_table(np.array([bisect_right(ends, token) for token in range(seq_len)]))

    def mask(batch: Any, head: Any, query: Any, key: Any) -> Any:
        same = table[query] == table[key]
        return same & (key <= query) if causal else same

    return mask
