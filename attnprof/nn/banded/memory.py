"""Memory that attnprof's banded attention takes while it attends for some tiles.

Beside its output and the log-sum-exp; the moments are those of `attnprof.nn.banded.attention`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from attnprof.core.sdpa_buffers import backward_buffer_bytes, forward_buffer_bytes
from attnprof.core.workload import DTYPE_BYTES, DType
from attnprof.nn.banded.tiling import (
    ChainGroup,
    TileRun,
    TileSizes,
    chains,
    fused_backward_tile_sizes,
    fused_forward_tile_sizes,
    runs,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BandedShape:
    """What decides how much it takes; the batch does not: sequences come one after the other.

    Attributes:
        seq_len: tokens.
        head_dim: width of a head.
        dtype: of the tensors.
        window: keys around a query.
        dilation: the stride of each head.
        num_globals: global tokens of the sequence that has the most.
    """

    seq_len: int
    head_dim: int
    dtype: DType
    window: int
    dilation: tuple[int, ...]
    num_globals: int

    @property
    def dtype_bytes(self) -> int:
        """Bytes of one number."""
        return DTYPE_BYTES[self.dtype]

    @property
    def accumulator_bytes(self) -> int:
        """Bytes of one number of a sum."""
        return max(4, self.dtype_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Some heads of one sequence, and some chains of it."""

    heads: int
    chains: ChainGroup
    runs: tuple[TileRun, ...]

    @property
    def gathered_tokens(self) -> int:
        """Tokens of all heads that are copied."""
        return self.heads * self.chains.count * self.chains.length * (self.chains.dilation > 1)


def _parts(shape: BandedShape, cut: TileSizes) -> Iterator[_Part]:
    for dilation, group in groupby(shape.dilation):
        heads = len(list(group))
        for part in chains(shape.seq_len, dilation, cut.tokens_per_call):
            yield _Part(
                heads=heads,
                chains=part,
                runs=tuple(
                    next(run.parts(cut.tokens_per_call))
                    for run in runs(part.length, part.count, shape.window, cut)
                ),
            )


def forward_tiles_bytes(shape: BandedShape) -> int:
    """The most that is allocated while some tiles are attended for."""
    size, accumulator = shape.dtype_bytes, shape.accumulator_bytes
    d, g = shape.head_dim, shape.num_globals
    most = 0
    for part in _parts(shape, fused_forward_tile_sizes(size)):
        gathered = part.gathered_tokens * (4 * d * size + accumulator)
        global_keys = 2 * part.heads * g * d * size
        for run in part.runs:
            queries = run.tiles * run.queries
            output = part.heads * queries * (d * size + accumulator)
            band = _bias_bytes(shape.window, run, size) + output
            band += forward_buffer_bytes(
                part.heads * run.tiles, run.queries, run.keys, d, shape.dtype
            )
            if g:
                copied = part.heads * queries * d * size * _is_copied(run)
                of_globals = copied + output + 2 * queries * g * size
                of_globals += forward_buffer_bytes(part.heads, queries, g, d, shape.dtype)
                merging = output + 2 * part.heads * queries * accumulator
                band = max(band, output + max(of_globals, merging))
            most = max(most, gathered + global_keys + band)
    return most


def backward_tiles_bytes(shape: BandedShape) -> int:
    """The same while gradients of some tiles are computed."""
    size, accumulator = shape.dtype_bytes, shape.accumulator_bytes
    d, g = shape.head_dim, shape.num_globals
    cut = fused_backward_tile_sizes(size, shape.window)
    most = 0
    for part in _parts(shape, cut):
        # gradient of the output, query, output, key, value and the gradients of three of them
        gathered = part.gathered_tokens * (d * (6 * size + 2 * accumulator) + accumulator)
        global_keys = 2 * part.heads * g * d * (size + accumulator)
        for run in part.runs:
            queries, keys = run.tiles * run.queries, run.tiles * run.keys
            band = part.heads * d * size * (queries + 2 * keys) + _bias_bytes(
                shape.window, run, size
            )
            band += backward_buffer_bytes(run.queries, run.keys, shape.dtype)
            # The operator copies the gradient of the output where it is a view with gaps.
            band += part.heads * queries * d * size * _has_gaps(len(shape.dilation), part, run)
            if g:
                copied = part.heads * queries * (3 * d * size + accumulator) * _is_copied(run)
                of_globals = copied + part.heads * d * size * (queries + 2 * g)
                of_globals += 2 * queries * g * size
                of_globals += backward_buffer_bytes(queries, g, shape.dtype)
                band = max(band, of_globals)
            most = max(most, gathered + global_keys + band)
    return most


def _has_gaps(num_heads: int, part: _Part, run: TileRun) -> bool:
    """Whether the operator has to copy the output's gradient to have it without gaps."""
    if run.tiles > 1:
        return True
    if part.chains.dilation == 1:
        return num_heads > 1
    return part.heads > 1 and run.queries < part.chains.count * part.chains.length


def _is_copied(run: TileRun) -> bool:
    """Whether its tiles have to be copied to be seen as one."""
    return run.tiles > 1 and run.spacing != run.queries


def _bias_bytes(window: int, run: TileRun, size: int) -> int:
    """The corners of a tile that are not read, and the bias that they are put into."""
    if run.band_offset is None:
        return 0
    before = max(0, run.queries - run.band_offset - 1)
    behind = max(0, run.keys - (window - run.band_offset + 1))
    return run.queries * (before + behind + run.keys) * size
