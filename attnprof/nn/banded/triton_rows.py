"""What the Triton kernels share: rows of tensors, positions of tokens, and blocks of keys.

A tensor `(batch, heads, tokens, width)` is passed as its pointer and the strides of its first three
dimensions; the last one has stride 1. A band is passed as the length of the sequence, the dilation,
and the keys before and after a query. Tokens have an index, chain after chain as in
`attnprof.nn.banded.triton_tiling`, and a position in the sequence.
"""
# Types of Triton's language are those of a GPU: a constant has the attributes of its value.
# pyright: basic, reportAttributeAccessIssue=false, reportIndexIssue=false, reportOptionalSubscript=false

from __future__ import annotations

from functools import update_wrapper
from types import FunctionType

import triton
import triton.language as tl

from attnprof.nn.banded import triton_tiling


def _with_triton_language(function: FunctionType) -> FunctionType:
    """A copy that sees `triton.language`, which Triton's interpreter requires of every function."""
    copy = FunctionType(function.__code__, {**function.__globals__, "tl": tl}, function.__name__)
    update_wrapper(copy, function)
    return copy


blocks_in_reach = triton.jit(_with_triton_language(triton_tiling.blocks_in_reach))
"""The same function on a GPU."""


@triton.jit
def program(tokens, heads, size: tl.constexpr):
    """Sequence, head and first token of a program: neighbouring ones share the tokens in reach."""
    blocks = tl.cdiv(tokens, size)
    row = tl.program_id(0) // blocks
    return row // heads, row % heads, tl.program_id(0) % blocks * size


@triton.jit
def positions_of(index, band, sizes: tl.constexpr):
    """Position and chain of tokens."""
    if sizes.is_dilated:
        seq_len, dilation = band[0], band[1]
        longest = (seq_len + dilation - 1) // dilation
        long_chains = seq_len - dilation * (longest - 1)
        shorter = max(longest - 1, 1)
        in_long = long_chains * longest
        later = index - in_long
        chain = tl.where(later >= 0, long_chains + later // shorter, index // longest)
        token = tl.where(later >= 0, later % shorter, index % longest)
        position = chain + dilation * token
    else:
        position = index
        chain = index
    return position, chain


@triton.jit
def rows_at(tensor, place, positions, columns: tl.constexpr):
    """Pointers to rows `(positions, columns)` of a head of a tensor, in 64 bits."""
    start = tensor[0] + place[0].to(tl.int64) * tensor[1] + place[1].to(tl.int64) * tensor[2]
    rows = start + positions.to(tl.int64)[:, None] * tensor[3]
    return rows + tl.arange(0, columns)[None, :]


@triton.jit
def load_rows(tensor, place, positions, inside, width: tl.constexpr, columns: tl.constexpr):
    """Rows of a tensor, 0 where a token is not `inside`; all are, if it is None."""
    pointers = rows_at(tensor, place, positions, columns)
    is_column = tl.arange(0, columns)[None, :] < width
    if inside is not None:
        rows = tl.load(pointers, mask=inside[:, None] & is_column, other=0.0)
    elif width == columns:
        rows = tl.load(pointers)
    else:
        rows = tl.load(pointers, mask=is_column, other=0.0)
    return rows


@triton.jit
def store_rows(tensor, place, positions, inside, rows, width: tl.constexpr, columns: tl.constexpr):
    """Store rows of the tokens that are `inside`, in the tensor's type."""
    pointers = rows_at(tensor, place, positions, columns)
    is_stored = inside[:, None] & (tl.arange(0, columns)[None, :] < width)
    tl.store(pointers, rows.to(tensor[0].dtype.element_ty), mask=is_stored)


@triton.jit
def numbers_at(tensor, place, positions):
    """Pointers to a number for each token, of a contiguous tensor `(batch, heads, tokens)`."""
    start = tensor[0] + place[0].to(tl.int64) * tensor[1] + place[1].to(tl.int64) * tensor[2]
    return start + positions


@triton.jit
def is_kept(padded, place, positions, inside):
    """Whether tokens are `inside`, as all are if it is None, and no padding if there is a mask.

    The mask is `(batch, tokens)`.
    """
    if padded is not None:
        pointers = padded[0] + place[0].to(tl.int64) * padded[1]
        pointers += positions.to(tl.int64) * padded[2]
        if inside is None:
            kept = tl.load(pointers) == 0
        else:
            kept = tl.load(pointers, mask=inside, other=1) == 0
    elif inside is None:
        kept = tl.full(positions.shape, True, tl.int1)
    else:
        kept = inside
    return kept


@triton.jit
def in_band(query, query_chain, key, key_chain, band, sizes: tl.constexpr):
    """Which queries attend to which keys of their band, `(queries, keys)`, by their indices."""
    after = key[None, :] - query[:, None]
    is_near = (after >= -band[2]) & (after <= band[3])
    if sizes.is_dilated:
        is_near = is_near & (query_chain[:, None] == key_chain[None, :])
    return is_near


@triton.jit
def outside_band(query, key, kept, band, sizes: tl.constexpr):
    """Which queries attend to which global keys that are not in their band, by positions."""
    distance = query[:, None] - key[None, :]
    is_near = (distance <= band[2] * band[1]) & (distance >= -band[3] * band[1])
    attends = kept[None, :] & ~(is_near & (distance % band[1] == 0))
    if sizes.is_causal:
        attends = attends & (distance >= 0)
    return attends


@triton.jit
def global_positions(positions, place, padded, first, sizes: tl.constexpr):
    """Positions of global tokens, which of them exist, and which of these are no padding.

    `positions` are `(batch, globals)` in memory, -1 behind the last of a sequence.
    """
    number = first + tl.arange(0, sizes.globals)
    pointers = positions[0] + place[0] * positions[1] + number
    position = tl.load(pointers, mask=number < positions[1], other=-1)
    exists = position >= 0
    position = tl.maximum(position, 0)
    return position, exists, is_kept(padded, place, position, exists)


@triton.jit
def keys_of_all(keys, place, reach, block, band, sizes: tl.constexpr):
    """A block of keys and values that are in the band of every query, and which are attended to.

    `keys` are keys, values and padding; `reach` is index and position of the first key in reach,
    which is in the same chain as the block.
    """
    position = reach[1] + (block * sizes.keys + tl.arange(0, sizes.keys)) * band[1]
    k = load_rows(keys[0], place, position, None, sizes.head_dim, sizes.key_columns)
    v = load_rows(keys[1], place, position, None, sizes.value_dim, sizes.value_columns)
    return k, v, is_kept(keys[2], place, position, None)[None, :]


@triton.jit
def keys_of_some(keys, place, reach, block, queries, band, sizes: tl.constexpr):
    """A block of keys and values, and which queries attend to which: `(queries, keys)`.

    `queries` are the indices and the chains of queries.
    """
    index = reach[0] + block * sizes.keys + tl.arange(0, sizes.keys)
    position, chain = positions_of(index, band, sizes)
    exists = index < band[0]
    k = load_rows(keys[0], place, position, exists, sizes.head_dim, sizes.key_columns)
    v = load_rows(keys[1], place, position, exists, sizes.value_dim, sizes.value_columns)
    attends = in_band(queries[0], queries[1], index, chain, band, sizes)
    return k, v, attends & is_kept(keys[2], place, position, exists)[None, :]


@triton.jit
def keys_of_globals(keys, place, positions, first, queries, band, sizes: tl.constexpr):
    """A block of global keys and values, and which queries, by position, attend to which."""
    position, exists, kept = global_positions(positions, place, keys[2], first, sizes)
    k = load_rows(keys[0], place, position, exists, sizes.head_dim, sizes.key_columns)
    v = load_rows(keys[1], place, position, exists, sizes.value_dim, sizes.value_columns)
    return k, v, outside_band(queries, position, kept, band, sizes)
