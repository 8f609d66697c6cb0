"""BigBird: a window of blocks, random blocks and global blocks.

Source: Zaheer et al., Big Bird, arXiv 2007.14062, section 2. Defaults: blocks of 64 and 3 random
ones, as in transformers' `BigBirdConfig`; its code has a window of 3 blocks and 2 global ones.
"""

from __future__ import annotations

import random as generators
from collections.abc import Callable
from typing import Any

import numpy as np

from attnprof.core.masks import MaskMod


def make_mask(
    *,
    seq_len: int,
    as_table: Callable[[Any], Any],
    block: int = 64,
    window: int = 3,
    random_blocks: int = 3,
    global_blocks: int = 2,
    seed: int = 0,
) -> MaskMod:
    """A query in block i attends to a key in block j if one of these holds.

    - |i - j| <= window // 2;
    - i or j is a global block: the first ceil(global_blocks / 2) and the last global_blocks // 2;
    - j is one of `random_blocks` blocks that are drawn for i among those that it does not attend to
      otherwise (all of them where there are fewer).

    All heads have the same random blocks.

    Args:
        seq_len: tokens.
        as_table: makes a table that positions can index.
        block: tokens of a block.
        window: blocks of the window, the query's own among them.
        random_blocks: random blocks for each block of queries.
        global_blocks: blocks that attend to all blocks and that all attend to.
        seed: of the random blocks.
    """
    count = -(-seq_len // block)
    index = np.arange(count)
    is_global = (index < -(-global_blocks // 2)) | (index >= count - global_blocks // 2)
    attends = abs(index[:, None] - index[None, :]) <= window // 2
    attends |= is_global[:, None] | is_global[None, :]
    draw = generators.Random(seed)
    for row in range(count):
        others = np.flatnonzero(~attends[row]).tolist()
        attends[row, draw.sample(others, min(random_blocks, len(others)))] = True
    table = as_table(attends)

    def mask(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return table[query // block, key // block]

    return mask
