"""The forward pass as a Triton kernel: one softmax over the band and the global keys.

The algorithm is that of FlashAttention-2, arXiv 2307.08691, section 3.1. A program has a block of
queries of one chain after another, and loads the blocks of keys in its reach: first those that are
in the band of all its queries, without a mask, then those at the ends of the band, then the global
keys that are not in the band.
"""
# Types of Triton's language are those of a GPU: a constant has the attributes of its value.
# pyright: basic, reportAttributeAccessIssue=false, reportIndexIssue=false, reportOptionalSubscript=false

from __future__ import annotations

import triton
import triton.language as tl

from attnprof.nn.banded.tile_kernels import EMPTY_LOG_SUM_EXP
from attnprof.nn.banded.triton_rows import (
    blocks_in_reach,
    keys_of_all,
    keys_of_globals,
    keys_of_some,
    load_rows,
    numbers_at,
    positions_of,
    program,
    store_rows,
)

_EMPTY = tl.constexpr(EMPTY_LOG_SUM_EXP)
_LOG_OF_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def forward_kernel(
    query, keys, output, sums, positions, band, heads, score_scale, sizes: tl.constexpr
):
    """Output and log-sum-exp of a block of queries.

    `keys` are keys, values and padding; `score_scale` is the factor of scores in units of log 2.
    """
    batch, head, first = program(band[0], heads, sizes.queries)
    place, key_place = (batch, head), (batch, head // sizes.sharing)
    index = first + tl.arange(0, sizes.queries)
    position, chain = positions_of(index, band, sizes)
    exists = index < band[0]
    q = load_rows(query, place, position, exists, sizes.head_dim, sizes.key_columns)
    state = (
        tl.zeros([sizes.queries, sizes.value_columns], tl.float32),
        tl.full([sizes.queries], _EMPTY, tl.float32),
        tl.zeros([sizes.queries], tl.float32),
    )
    start, blocks, first_whole, whole = blocks_in_reach(
        first, sizes.queries, sizes.keys, band[0], band[1], band[2], band[3]
    )
    reach = (start, positions_of(start, band, sizes)[0])
    for number in range(whole):
        k, v, attends = keys_of_all(keys, key_place, reach, first_whole + number, band, sizes)
        state = _attend(state, q, k, v, attends, score_scale, sizes)
    for number in range(blocks - whole):
        block = tl.where(number < first_whole, number, number + whole)
        k, v, attends = keys_of_some(keys, key_place, reach, block, (index, chain), band, sizes)
        state = _attend(state, q, k, v, attends, score_scale, sizes)
    if positions is not None:
        for number in range(0, positions[1], sizes.globals):
            k, v, attends = keys_of_globals(
                keys, key_place, positions, number, position, band, sizes
            )
            state = _attend(state, q, k, v, attends, score_scale, sizes)
    _store(output, sums, place, position, exists, state, sizes)


@triton.jit
def _attend(state, query, key, value, attends, score_scale, sizes: tl.constexpr):
    """Output, highest score and sum of weights, with those of a block of keys."""
    output, highest, total = state
    scores = tl.dot(query, tl.trans(key), input_precision=sizes.precision) * score_scale
    scores = tl.where(attends, scores, float("-inf"))
    next_highest = tl.maximum(highest, tl.max(scores, 1))
    weights = tl.exp2(scores - next_highest[:, None])
    decay = tl.exp2(highest - next_highest)
    output = output * decay[:, None]
    output = tl.dot(weights.to(value.dtype), value, output, input_precision=sizes.precision)
    return output, next_highest, total * decay + tl.sum(weights, 1)


@triton.jit
def _store(output, sums, place, position, exists, state, sizes: tl.constexpr):
    """Store the output and the log-sum-exp of queries: 0 and `EMPTY_LOG_SUM_EXP` without a key."""
    attended, highest, total = state
    has_key = total > 0.0
    total = tl.where(has_key, total, 1.0)
    attended = attended / total[:, None]
    store_rows(output, place, position, exists, attended, sizes.value_dim, sizes.value_columns)
    log_sum_exp = tl.where(has_key, (highest + tl.log2(total)) * _LOG_OF_2, _EMPTY)
    tl.store(numbers_at(sums, place, position), log_sum_exp, mask=exists)
