"""Temporary memory of attnprof's banded attention: all but its output and the log-sum-exp.

The expressions follow the allocations of `attnprof.nn.banded.attention` on CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from attnprof.core.sdpa_buffers import backward_buffer_bytes, forward_buffer_bytes
from attnprof.core.workload import DTYPE_BYTES, DType
from attnprof.nn.banded.tiling import (
    ChainGroup,
    Sides,
    TileRun,
    TileSizes,
    chains,
    fused_backward_tile_sizes,
    fused_forward_tile_sizes,
    head_groups,
    largest_runs,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BandedShape:
    """What the temporary memory depends on. The batch is not part of it: one sequence at a time.

    Attributes:
        seq_len: tokens.
        kv_heads: heads of keys and values.
        head_dim: width of a head of queries and keys.
        value_dim: width of a head of values; torch's fused attention on CPU needs them equal.
        dtype: of the tensors.
        sides: keys before and after a query.
        dilation: the stride of each query head.
        num_globals: the largest number of global tokens of a sequence.
    """

    seq_len: int
    kv_heads: int
    head_dim: int
    value_dim: int
    dtype: DType
    sides: Sides
    dilation: tuple[int, ...]
    num_globals: int

    @property
    def dtype_bytes(self) -> int:
        """Bytes of one element of the tensors."""
        return DTYPE_BYTES[self.dtype]

    @property
    def accumulator_bytes(self) -> int:
        """Bytes of one element of an accumulator."""
        return max(4, self.dtype_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some heads of one sequence, and a group of its chains that is computed at one time.

    Attributes:
        heads: of queries.
        kv_heads: of keys and values.
        chains: the group.
        runs: their tiles in one call of an operator.
    """

    heads: int
    kv_heads: int
    chains: ChainGroup
    runs: tuple[TileRun, ...]

    @property
    def gathered_tokens(self) -> int:
        """Tokens of each head that are copied; 0 without dilation."""
        return 0 if self.chains.dilation == 1 else self.chains.count * self.chains.length


def parts(shape: BandedShape, sizes: TileSizes) -> Iterator[Part]:
    """All different parts, each with the first call of each run: the others are no larger."""
    groups = head_groups(shape.dilation, shape.kv_heads)
    different = {(len(one.queries), len(one.keys), one.dilation) for one in groups}
    for heads, kv_heads, dilation in different:
        for group in chains(shape.seq_len, dilation, sizes.tokens_per_call):
            yield Part(
                heads=heads,
                kv_heads=kv_heads,
                chains=group,
                runs=tuple(
                    next(run.parts(sizes.tokens_per_call))
                    for run in largest_runs(group.length, group.count, shape.sides, sizes)
                ),
            )


def forward_tiles_bytes(shape: BandedShape) -> int:
    """Peak bytes of temporary memory in the forward pass."""
    size, accumulator = shape.dtype_bytes, shape.accumulator_bytes
    d, g = shape.head_dim, shape.num_globals
    most = 0
    for part in parts(shape, fused_forward_tile_sizes(size)):
        # Query and output, key and value.
        gathered = part.gathered_tokens * part.heads * (2 * d * size + accumulator)
        gathered += part.gathered_tokens * part.kv_heads * 2 * d * size
        global_keys = 2 * part.kv_heads * g * d * size
        for run in part.runs:
            queries = run.tiles * run.queries
            output = part.heads * queries * (d * size + accumulator)
            band = _bias_bytes(sum(shape.sides), run, size) + output
            band += forward_buffer_bytes(
                part.heads * run.tiles, run.queries, run.keys, d, shape.dtype
            )
            if g:
                copied = part.heads * queries * d * size if is_copied(run) else 0
                of_globals = copied + output + 2 * queries * g * size
                of_globals += forward_buffer_bytes(part.heads, queries, g, d, shape.dtype)
                merging = output + 2 * part.heads * queries * accumulator
                band = max(band, output + max(of_globals, merging))
            most = max(most, gathered + global_keys + band)
    return most


def backward_tiles_bytes(shape: BandedShape) -> int:
    """Peak bytes of temporary memory in the backward pass."""
    size, accumulator = shape.dtype_bytes, shape.accumulator_bytes
    d, g = shape.head_dim, shape.num_globals
    most = 0
    for part in parts(shape, fused_backward_tile_sizes(size, shape.sides)):
        # Gradient of the output, query, output, gradient of the query; key, value, and theirs.
        gathered = part.gathered_tokens * part.heads * (4 * d * size + accumulator)
        gathered += part.gathered_tokens * part.kv_heads * 2 * d * (size + accumulator)
        global_keys = 2 * part.kv_heads * g * d * (size + accumulator)
        for run in part.runs:
            queries, keys = run.tiles * run.queries, run.tiles * run.keys
            band = d * size * (part.heads * queries + 2 * part.kv_heads * keys)
            band += _bias_bytes(sum(shape.sides), run, size)
            band += backward_buffer_bytes(run.queries, run.keys, shape.dtype)
            # The operator copies the gradient of the output if it is a view with gaps.
            if _has_gaps(len(shape.dilation), part, run):
                band += part.heads * queries * d * size
            if g:
                copied = 0
                if is_copied(run):
                    copied = part.heads * queries * (3 * d * size + accumulator)
                of_globals = copied + d * size * (part.heads * queries + 2 * part.kv_heads * g)
                of_globals += 2 * queries * g * size
                of_globals += backward_buffer_bytes(queries, g, shape.dtype)
                band = max(band, of_globals)
            most = max(most, gathered + global_keys + band)
    return most


def _has_gaps(num_heads: int, part: Part, run: TileRun) -> bool:
    """Whether the output's gradient has gaps, so that the operator copies it."""
    if part.heads > part.kv_heads:
        # Tokens by heads, as it is stored.
        return part.chains.dilation > 1 or part.heads < num_heads
    if run.tiles > 1:
        return True
    if part.chains.dilation == 1:
        return num_heads > 1
    return part.heads > 1 and run.queries < part.chains.count * part.chains.length


def is_copied(run: TileRun) -> bool:
    """Whether its tiles are copied to be reshaped into one, since they are not contiguous."""
    return run.tiles > 1 and run.spacing != run.queries


def _bias_bytes(span: int, run: TileRun, size: int) -> int:
    """Bytes of the bias of a tile and of the masked corners from which it is filled."""
    if run.band_offset is None:
        return 0
    return corner_bytes(span, run, size) + run.queries * run.keys * size


def corner_bytes(span: int, run: TileRun, size: int) -> int:
    """Bytes of the masked corners of a tile."""
    if run.band_offset is None:
        return 0
    before = max(0, run.queries - run.band_offset - 1)
    behind = max(0, run.keys - (span - run.band_offset + 1))
    return run.queries * (before + behind) * size
