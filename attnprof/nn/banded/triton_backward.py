"""The backward pass as Triton kernels, without atomic operations: the same result in every run.

The algorithm is that of FlashAttention-2, arXiv 2307.08691, section 3.2, with the gradients of
queries in a kernel of their own. The gradients of global keys that are not in a query's band are
summed over parts of the sequence, and the parts by the caller.
"""
# Types of Triton's language are those of a GPU: a constant has the attributes of its value.
# pyright: basic, reportAttributeAccessIssue=false, reportIndexIssue=false, reportOptionalSubscript=false

from __future__ import annotations

import triton
import triton.language as tl

from attnprof.nn.banded.triton_rows import (
    blocks_in_reach,
    global_positions,
    in_band,
    is_kept,
    keys_of_all,
    keys_of_globals,
    keys_of_some,
    load_rows,
    numbers_at,
    outside_band,
    positions_of,
    program,
    store_rows,
)
from attnprof.nn.banded.triton_sizes import QUERIES_PER_PARTIAL_SUM

_LOG2_OF_E = tl.constexpr(1.4426950408889634)
_QUERIES_OF_PART = tl.constexpr(QUERIES_PER_PARTIAL_SUM)


@triton.jit
def query_gradient_kernel(
    queries,
    keys,
    output,
    grad_query,
    positions,
    band,
    heads,
    scale,
    score_scale,
    sizes: tl.constexpr,
):
    """The gradient of a block of queries; stores their `means`, which the other kernels read.

    `queries` are queries, gradient of the output, log-sum-exp, and means: the sum of each output
    with its gradient, which the derivative of softmax subtracts. `keys` are keys, values and
    padding. `score_scale` is `scale` in units of log 2.
    """
    batch, head, first = program(band[0], heads, sizes.queries)
    place, key_place = (batch, head), (batch, head // sizes.sharing)
    index = first + tl.arange(0, sizes.queries)
    position, chain = positions_of(index, band, sizes)
    exists = index < band[0]
    g = load_rows(queries[1], place, position, exists, sizes.value_dim, sizes.value_columns)
    out = load_rows(output, place, position, exists, sizes.value_dim, sizes.value_columns)
    means = tl.sum(g.to(tl.float32) * out.to(tl.float32), 1)
    tl.store(numbers_at(queries[3], place, position), means, mask=exists)
    q = load_rows(queries[0], place, position, exists, sizes.head_dim, sizes.key_columns)
    sums = tl.load(numbers_at(queries[2], place, position), mask=exists, other=0.0) * _LOG2_OF_E
    inputs = (q, g, sums, means)
    total = tl.zeros([sizes.queries, sizes.key_columns], tl.float32)
    start, blocks, first_whole, whole = blocks_in_reach(
        first, sizes.queries, sizes.keys, band[0], band[1], band[2], band[3]
    )
    reach = (start, positions_of(start, band, sizes)[0])
    for number in range(whole):
        k, v, attends = keys_of_all(keys, key_place, reach, first_whole + number, band, sizes)
        total = _add_to_query(total, inputs, k, v, attends, score_scale, sizes)
    for number in range(blocks - whole):
        block = tl.where(number < first_whole, number, number + whole)
        k, v, attends = keys_of_some(keys, key_place, reach, block, (index, chain), band, sizes)
        total = _add_to_query(total, inputs, k, v, attends, score_scale, sizes)
    if positions is not None:
        for number in range(0, positions[1], sizes.globals):
            k, v, attends = keys_of_globals(
                keys, key_place, positions, number, position, band, sizes
            )
            total = _add_to_query(total, inputs, k, v, attends, score_scale, sizes)
    total = total * scale
    store_rows(grad_query, place, position, exists, total, sizes.head_dim, sizes.key_columns)


@triton.jit
def _add_to_query(total, queries, key, value, attends, score_scale, sizes: tl.constexpr):
    """The gradient of queries, before it is scaled, with that from a block of keys."""
    query, grad_output, sums, means = queries
    scores = tl.dot(query, tl.trans(key), input_precision=sizes.precision) * score_scale
    scores = tl.where(attends, scores, float("-inf"))
    weights = tl.exp2(scores - sums[:, None])
    grad_weights = tl.dot(grad_output, tl.trans(value), input_precision=sizes.precision)
    grad_scores = weights * (grad_weights - means[:, None])
    return tl.dot(grad_scores.to(key.dtype), key, total, input_precision=sizes.precision)


@triton.jit
def key_gradient_kernel(
    queries,
    keys,
    grad_key,
    grad_value,
    band,
    heads,
    scale,
    score_scale,
    sizes: tl.constexpr,
):
    """The gradients of a block of keys and values from the queries in whose band they are.

    `heads` are those of keys; the queries of all heads that share one are summed.
    """
    batch, head, first = program(band[0], heads, sizes.keys)
    place = (batch, head)
    index = first + tl.arange(0, sizes.keys)
    position, chain = positions_of(index, band, sizes)
    exists = index < band[0]
    k = load_rows(keys[0], place, position, exists, sizes.head_dim, sizes.key_columns)
    v = load_rows(keys[1], place, position, exists, sizes.value_dim, sizes.value_columns)
    kept_keys = is_kept(keys[2], place, position, None if keys[2] is None else exists)
    total = (
        tl.zeros([sizes.keys, sizes.key_columns], tl.float32),
        tl.zeros([sizes.keys, sizes.value_columns], tl.float32),
    )
    # A query is as far before a key as the key is after the query.
    start, blocks, first_whole, whole = blocks_in_reach(
        first, sizes.keys, sizes.queries, band[0], band[1], band[3], band[2]
    )
    for shared in range(sizes.sharing):
        query_place = (batch, head * sizes.sharing + shared)
        start_position = positions_of(start, band, sizes)[0]
        for number in range(whole):
            offset = (first_whole + number) * sizes.queries + tl.arange(0, sizes.queries)
            inputs = _queries_at(
                queries, query_place, start_position + offset * band[1], None, sizes
            )
            total = _add_to_keys(total, inputs, k, v, kept_keys[:, None], score_scale, sizes)
        for number in range(blocks - whole):
            block = tl.where(number < first_whole, number, number + whole)
            of_queries = start + block * sizes.queries + tl.arange(0, sizes.queries)
            query_position, query_chain = positions_of(of_queries, band, sizes)
            inputs = _queries_at(queries, query_place, query_position, of_queries < band[0], sizes)
            attends = in_band(of_queries, query_chain, index, chain, band, sizes)
            attends = tl.trans(attends & kept_keys[None, :])
            total = _add_to_keys(total, inputs, k, v, attends, score_scale, sizes)
    of_key, of_value = total
    of_key = of_key * scale
    if sizes.adds:
        of_key += load_rows(grad_key, place, position, exists, sizes.head_dim, sizes.key_columns)
        of_value += load_rows(
            grad_value, place, position, exists, sizes.value_dim, sizes.value_columns
        )
    store_rows(grad_key, place, position, exists, of_key, sizes.head_dim, sizes.key_columns)
    store_rows(grad_value, place, position, exists, of_value, sizes.value_dim, sizes.value_columns)


@triton.jit
def global_gradient_kernel(
    queries,
    keys,
    grad_key,
    grad_value,
    positions,
    band,
    heads,
    scale,
    score_scale,
    sizes: tl.constexpr,
):
    """The gradients of a block of global keys and values from one part of the sequence.

    Of queries that do not have them in their band. The gradients are `(batch * parts, heads,
    globals, width)`; the parts of a sequence follow one another.
    """
    row, head, first = program(positions[1], heads, sizes.globals)
    parts = tl.cdiv(band[0], _QUERIES_OF_PART)
    place = (row // parts, head)
    position, exists, kept = global_positions(positions, place, keys[2], first, sizes)
    k = load_rows(keys[0], place, position, exists, sizes.head_dim, sizes.key_columns)
    v = load_rows(keys[1], place, position, exists, sizes.value_dim, sizes.value_columns)
    total = (
        tl.zeros([sizes.globals, sizes.key_columns], tl.float32),
        tl.zeros([sizes.globals, sizes.value_columns], tl.float32),
    )
    start = row % parts * _QUERIES_OF_PART
    stop = min(start + _QUERIES_OF_PART, band[0])
    for shared in range(sizes.sharing):
        query_place = (place[0], head * sizes.sharing + shared)
        for query in range(start, stop, sizes.queries):
            query_position = query + tl.arange(0, sizes.queries)
            inputs = _queries_at(queries, query_place, query_position, query_position < stop, sizes)
            attends = tl.trans(outside_band(query_position, position, kept, band, sizes))
            total = _add_to_keys(total, inputs, k, v, attends, score_scale, sizes)
    number = first + tl.arange(0, sizes.globals)
    of_part, is_stored = (row, head), number < positions[1]
    of_key = total[0] * scale
    store_rows(grad_key, of_part, number, is_stored, of_key, sizes.head_dim, sizes.key_columns)
    store_rows(
        grad_value, of_part, number, is_stored, total[1], sizes.value_dim, sizes.value_columns
    )


@triton.jit
def _queries_at(queries, place, positions, exists, sizes: tl.constexpr):
    """Queries, gradient of the output, log-sum-exp in units of log 2, and means.

    Without weights if a query does not exist: its log-sum-exp is infinite.
    """
    q = load_rows(queries[0], place, positions, exists, sizes.head_dim, sizes.key_columns)
    g = load_rows(queries[1], place, positions, exists, sizes.value_dim, sizes.value_columns)
    if exists is None:
        sums = tl.load(numbers_at(queries[2], place, positions))
        means = tl.load(numbers_at(queries[3], place, positions))
    else:
        sums = tl.load(numbers_at(queries[2], place, positions), mask=exists, other=float("inf"))
        means = tl.load(numbers_at(queries[3], place, positions), mask=exists, other=0.0)
    return q, g, sums * _LOG2_OF_E, means


@triton.jit
def _add_to_keys(total, queries, key, value, attends, score_scale, sizes: tl.constexpr):
    """The gradients of keys, before they are scaled, and values, with those of a block of queries.

    `attends` and all scores are `(keys, queries)`.
    """
    of_key, of_value = total
    query, grad_output, sums, means = queries
    scores = tl.dot(key, tl.trans(query), input_precision=sizes.precision) * score_scale
    scores = tl.where(attends, scores, float("-inf"))
    weights = tl.exp2(scores - sums[None, :])
    of_value = tl.dot(
        weights.to(grad_output.dtype), grad_output, of_value, input_precision=sizes.precision
    )
    grad_weights = tl.dot(value, tl.trans(grad_output), input_precision=sizes.precision)
    grad_scores = weights * (grad_weights - means[None, :])
    of_key = tl.dot(grad_scores.to(query.dtype), query, of_key, input_precision=sizes.precision)
    return of_key, of_value
