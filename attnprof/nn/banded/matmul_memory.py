"""Temporary memory of banded attention by matrix products, as on CUDA: all but its results.

The expressions follow the allocations of `attnprof.nn.banded.attention` and of `MatmulTiles` in
`attnprof.nn.banded.tile_kernels`. A batched product copies an operand whose heads and tiles are not
evenly spaced in memory, as keys are that tiles share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from attnprof.nn.banded.memory import BandedShape, Part, corner_bytes, is_copied, parts
from attnprof.nn.banded.tiling import TileRun, matmul_tile_sizes


@dataclass(frozen=True, slots=True)
class _Spacing:
    """Where the rows of a tensor are in memory, in rows.

    Attributes:
        heads: from one head to the next.
        tokens: from one token to the next.
        tiles: from one tile to the next.
    """

    heads: int
    tokens: int
    tiles: int

    def is_batch(self, heads: int, tiles: int, sharing: int = 1) -> bool:
        """Whether heads, or groups of heads, and tiles together are evenly spaced."""
        return heads == 1 or tiles == 1 or sharing * self.heads == tiles * self.tiles

    def is_foldable(self, queries: int) -> bool:
        """Whether the queries of one head follow those of the head before."""
        return queries == 1 or self.heads == queries * self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """Tiles of one call with the keys of one source.

    Attributes:
        shape: of the attention.
        part: the heads.
        tiles: of each head.
        queries: of one tile.
        keys: of one tile.
        bias: bytes of the bias.
        by_query: where the rows of queries, of outputs and of their gradients are.
        by_key: where the rows of keys and values are.
        by_sum: where the log-sum-exps are.
    """

    shape: BandedShape
    part: Part
    tiles: int
    queries: int
    keys: int
    bias: int
    by_query: _Spacing
    by_key: _Spacing
    by_sum: _Spacing

    @property
    def rows(self) -> int:
        """Queries of all heads and tiles."""
        return self.part.heads * self.tiles * self.queries

    @property
    def columns(self) -> int:
        """Keys of all heads and tiles."""
        return self.part.kv_heads * self.tiles * self.keys

    @property
    def results(self) -> int:
        """Bytes of output and log-sum-exp."""
        return self.rows * (self.shape.value_dim * self.shape.dtype_bytes + self._accumulator)

    def forward_bytes(self) -> int:
        """Peak bytes of the forward call, results included, without reused buffers."""
        size, accumulator, rows = self.shape.dtype_bytes, self._accumulator, self.rows
        pairs, attended = rows * self.keys, rows * self.shape.value_dim * size
        weights, sums = pairs * accumulator, 2 * rows * accumulator
        folded = rows * self.shape.head_dim * size if self._folds(self.by_query) else 0
        most = max(
            self._copied_keys(self.shape.head_dim) + pairs * size,
            weights + self._converted(pairs),
            weights + sums + rows * accumulator,
            weights
            + sums
            + self._converted(pairs)
            + self._copied_keys(self.shape.value_dim)
            + attended,
            weights + sums + attended + (self.results if self._unfolds else 0),
        )
        return self.bias + folded + self.results + most

    def backward_bytes(self) -> int:
        """Peak bytes of the backward call, without reused buffers."""
        size, accumulator, rows = self.shape.dtype_bytes, self._accumulator, self.rows
        d, e = self.shape.head_dim, self.shape.value_dim
        pairs = rows * self.keys
        weights, sums = pairs * accumulator, rows * accumulator
        half = self._converted(pairs)
        of_queries, of_output = self._copied_queries(d), self._copied_queries(e)
        products = 3 if half else 1
        # What is left of the gradients of scores, in the type of the inputs.
        scores = weights + pairs * size + sums
        most = max(
            self._copied_keys(d) + pairs * size,
            weights + half,
            weights + sums,
            weights + of_output + self._copied_keys(e) + pairs * size,
            2 * weights + half,
            2 * weights + half + of_output + self.columns * e * size,
            2 * weights + products * rows * e * accumulator + sums,
            2 * weights + sums + half,
            scores + self._copied_keys(d) + rows * d * size,
            scores + of_queries + self.columns * d * size,
            scores + (rows * d * size if self._unfolds else 0),
        )
        return self.bias + self._folded_bytes() + most

    @property
    def _accumulator(self) -> int:
        return self.shape.accumulator_bytes

    @property
    def _sharing(self) -> int:
        return self.part.heads // self.part.kv_heads

    @property
    def _unfolds(self) -> bool:
        """Whether results are copied when query heads that share keys are separated again."""
        return self._sharing > 1 and self.part.kv_heads > 1 and self.tiles > 1

    def _folds(self, spacing: _Spacing) -> bool:
        """Whether queries are copied to follow those of the heads that share their keys."""
        return self._sharing > 1 and not spacing.is_foldable(self.queries)

    def _folded_bytes(self) -> int:
        """Copies of gradient of the output, query, output and log-sum-exp."""
        shape, folded = self.shape, 0
        if self._folds(self.by_query):
            width = shape.head_dim + 2 * shape.value_dim
            folded += self.rows * width * shape.dtype_bytes
        if self._folds(self.by_sum):
            folded += self.rows * self._accumulator
        return folded

    def _converted(self, pairs: int) -> int:
        """Bytes of scores or weights in half precision; 0 if they need no conversion."""
        return pairs * self.shape.dtype_bytes if self.shape.dtype_bytes < self._accumulator else 0

    def _copied_keys(self, width: int) -> int:
        """Bytes that a product copies of keys or values of that width."""
        if self.by_key.is_batch(self.part.kv_heads, self.tiles):
            return 0
        return self.columns * width * self.shape.dtype_bytes

    def _copied_queries(self, width: int) -> int:
        """Bytes that a product copies of queries or gradients of the output of that width."""
        is_batch = self.by_query.is_batch(self.part.kv_heads, self.tiles, self._sharing)
        if is_batch or self._folds(self.by_query):
            return 0
        return self.rows * width * self.shape.dtype_bytes


def matmul_forward_bytes(shape: BandedShape) -> int:
    """Peak bytes of temporary memory in the forward pass."""
    size, widths = shape.dtype_bytes, shape.head_dim + shape.value_dim
    most = scaled = 0
    for part in parts(shape, matmul_tile_sizes(shape.sides, on_cpu=False)):
        # Query, output and log-sum-exp; key and value.
        gathered = part.gathered_tokens * part.heads * (widths * size + shape.accumulator_bytes)
        gathered += part.gathered_tokens * part.kv_heads * widths * size
        gathered += part.kv_heads * shape.num_globals * widths * size
        for run in part.runs:
            band = _band_call(shape, part, run)
            scaled = max(scaled, band.rows * shape.head_dim * size)
            call = band.forward_bytes()
            if shape.num_globals:
                of_globals = _global_call(shape, part, run)
                copied = band.rows * shape.head_dim * size if is_copied(run) else 0
                merging = 2 * band.rows * shape.accumulator_bytes
                call = max(
                    call,
                    band.results + copied + of_globals.forward_bytes(),
                    band.results + of_globals.results + merging,
                )
            most = max(most, gathered + call)
    return most + scaled


def matmul_backward_bytes(shape: BandedShape, converted: int) -> int:
    """Peak bytes of temporary memory in the backward pass.

    Args:
        shape: of the attention.
        converted: bytes of the gradients of keys and values that are converted at the end.
    """
    calls = list(_backward_calls(shape))
    reused = _reused_bytes(shape, [call for _, call in calls])
    most = max(outside + call.backward_bytes() for outside, call in calls)
    return reused + max(most, converted)


def _backward_calls(shape: BandedShape) -> Iterator[tuple[int, _Call]]:
    """Calls in the backward pass, each with the bytes alive around it."""
    size, accumulator = shape.dtype_bytes, shape.accumulator_bytes
    widths = shape.head_dim + shape.value_dim
    for part in parts(shape, matmul_tile_sizes(shape.sides, on_cpu=False)):
        # Gradient of the output, query, output, gradient of the query; key, value, and theirs.
        gathered = part.gathered_tokens * part.heads * (2 * widths * size + accumulator)
        gathered += part.gathered_tokens * part.kv_heads * widths * (size + accumulator)
        gathered += part.kv_heads * shape.num_globals * widths * (size + accumulator)
        for run in part.runs:
            band = _band_call(shape, part, run)
            yield gathered, band
            if shape.num_globals:
                copied = 0
                if is_copied(run):
                    copied = (widths + shape.value_dim) * size + accumulator
                yield gathered + band.rows * copied, _global_call(shape, part, run)


def _reused_bytes(shape: BandedShape, calls: list[_Call]) -> int:
    """Buffers that the calls share: scaled queries; gradients of query, key and value."""
    d, e = shape.head_dim, shape.value_dim
    of_queries = 2 * d * max(call.rows for call in calls)
    of_keys = (d + e) * max(call.columns for call in calls)
    return (of_queries + of_keys) * shape.dtype_bytes


def _band_call(shape: BandedShape, part: Part, run: TileRun) -> _Call:
    """The call with the keys in the band."""
    return _Call(
        shape=shape,
        part=part,
        tiles=run.tiles,
        queries=run.queries,
        keys=run.keys,
        bias=corner_bytes(sum(shape.sides), run, shape.dtype_bytes),
        by_query=_spacing(part, run, len(shape.dilation)),
        by_key=_spacing(part, run, shape.kv_heads),
        by_sum=_sums_spacing(shape, part, run),
    )


def _global_call(shape: BandedShape, part: Part, run: TileRun) -> _Call:
    """The call with the global keys: all queries of a run are one tile."""
    queries = run.tiles * run.queries
    by_query = _spacing(part, run, len(shape.dilation))
    by_sum = _sums_spacing(shape, part, run)
    if is_copied(run):
        by_query = by_sum = _Spacing(queries, 1, queries)
    return _Call(
        shape=shape,
        part=part,
        tiles=1,
        queries=queries,
        keys=shape.num_globals,
        bias=queries * shape.num_globals * shape.dtype_bytes,
        by_query=by_query,
        by_key=by_query,  # of one tile, which needs no copy
        by_sum=by_sum,
    )


def _spacing(part: Part, run: TileRun, heads: int) -> _Spacing:
    """Of projections, `(tokens, heads, width)` in memory, or of their gathered rows."""
    if part.gathered_tokens:
        return _Spacing(part.gathered_tokens, 1, run.spacing)
    return _Spacing(1, heads, run.spacing * heads)


def _sums_spacing(shape: BandedShape, part: Part, run: TileRun) -> _Spacing:
    return _Spacing(part.gathered_tokens or shape.seq_len, 1, run.spacing)
