"""Peak memory of `longformer-banded`; the moments are those of `attnprof.nn.longformer`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from attnprof.global_rows import absorbs
from attnprof.kernels._memory import (
    LayerMemory,
    activation_bytes,
    flash_cpu_backward_bytes,
    flash_cpu_buffer_bytes,
    flash_cpu_forward_bytes,
    has_residual,
    log_sum_exp_bytes,
    projection_backward_bytes,
    weight_bytes,
)
from attnprof.pattern import AttentionPattern
from attnprof.tiling import Chains, Cut, Run, chains, fused_backward_cut, fused_forward_cut, runs
from attnprof.workload import Workload


def layer_memory(workload: Workload, layer: AttentionPattern, index: int) -> LayerMemory:
    """The queries make room for the output in inference; a run of tiles needs little more."""
    n = workload.seq_len
    activation, weight = activation_bytes(workload, n), weight_bytes(workload)
    accumulated = activation // workload.dtype_bytes * _accumulator_bytes(workload)
    sums = log_sum_exp_bytes(workload, n)
    rows = _GlobalRows.of(workload, layer)
    tiles = _forward_tiles_bytes(workload, layer)
    if workload.mode == "inference":
        return LayerMemory(forward=max(rows.forward, rows.output + 3 * activation + sums + tiles))
    saved = 4 * activation + sums + rows.saved
    gradients = activation + 2 * accumulated
    # Gradients of keys and values are converted one after the other.
    converted = activation if accumulated > activation else 0
    return LayerMemory(
        forward=max(rows.forward, saved + tiles),
        saved=saved,
        output_backward=saved
        - activation
        + gradients
        + max(_backward_tiles_bytes(workload, layer), 2 * converted),
        projection_backward=max(
            rows.saved
            + projection_backward_bytes(activation, weight, has_residual=has_residual(workload)),
            rows.backward + activation + 3 * weight,
        ),
        output_is_saved=True,
        gradients=(6 if layer.global_positions else 3) * weight,
    )


def _accumulator_bytes(workload: Workload) -> int:
    return max(4, workload.dtype_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Some heads of one sequence, and some chains of it."""

    heads: int
    chains: Chains
    runs: tuple[Run, ...]

    @property
    def gathered_tokens(self) -> int:
        """Tokens of all heads that are copied."""
        return self.heads * self.chains.count * self.chains.length * (self.chains.dilation > 1)


def _parts(workload: Workload, layer: AttentionPattern, cut: Cut) -> Iterator[_Part]:
    window = layer.window or 0
    for dilation, group in groupby(layer.dilation):
        heads = len(list(group))
        for part in chains(workload.seq_len, dilation, cut.tokens_at_a_time):
            yield _Part(
                heads=heads,
                chains=part,
                runs=tuple(
                    next(run.parts(cut.tokens_at_a_time))
                    for run in runs(part.length, part.count, window, cut)
                ),
            )


def _forward_tiles_bytes(workload: Workload, layer: AttentionPattern) -> int:
    """The most that is allocated while some tiles are attended for."""
    size, accumulator = workload.dtype_bytes, _accumulator_bytes(workload)
    d, g = workload.head_dim, len(layer.global_positions)
    most = 0
    for part in _parts(workload, layer, fused_forward_cut(size)):
        gathered = part.gathered_tokens * (4 * d * size + accumulator)
        global_keys = 2 * part.heads * g * d * size
        for run in part.runs:
            queries = run.tiles * run.queries
            output = part.heads * queries * (d * size + accumulator)
            band = _bias_bytes(layer, run, size) + output
            band += flash_cpu_buffer_bytes(workload, part.heads * run.tiles, run.queries, run.keys)
            if g:
                copied = part.heads * queries * d * size * _is_copied(run)
                of_globals = copied + output + 2 * queries * g * size
                of_globals += flash_cpu_buffer_bytes(workload, part.heads, queries, g)
                merging = output + 2 * part.heads * queries * accumulator
                band = max(band, output + max(of_globals, merging))
            most = max(most, gathered + global_keys + band)
    return most


def _backward_tiles_bytes(workload: Workload, layer: AttentionPattern) -> int:
    """The same while gradients of some tiles are computed."""
    size, accumulator = workload.dtype_bytes, _accumulator_bytes(workload)
    d, g = workload.head_dim, len(layer.global_positions)
    cut = fused_backward_cut(size, layer.window or 0)
    most = 0
    for part in _parts(workload, layer, cut):
        # gradient of the output, query, output, key, value and the gradients of three of them
        gathered = part.gathered_tokens * (d * (6 * size + 2 * accumulator) + accumulator)
        global_keys = 2 * part.heads * g * d * (size + accumulator)
        for run in part.runs:
            queries, keys = run.tiles * run.queries, run.tiles * run.keys
            band = part.heads * d * size * (queries + 2 * keys) + _bias_bytes(layer, run, size)
            band += flash_cpu_backward_bytes(workload, run.queries, run.keys)
            # The operator copies the gradient of the output where it is a view with gaps.
            band += part.heads * queries * d * size * _has_gaps(workload, part, run)
            if g:
                copied = part.heads * queries * (3 * d * size + accumulator) * _is_copied(run)
                of_globals = copied + part.heads * d * size * (queries + 2 * g)
                of_globals += 2 * queries * g * size
                of_globals += flash_cpu_backward_bytes(workload, queries, g)
                band = max(band, of_globals)
            most = max(most, gathered + global_keys + band)
    return most


def _has_gaps(workload: Workload, part: _Part, run: Run) -> bool:
    """Whether the operator has to copy the output's gradient to have it without gaps."""
    if run.tiles > 1:
        return True
    if part.chains.dilation == 1:
        return workload.num_heads > 1
    return part.heads > 1 and run.queries < part.chains.count * part.chains.length


def _is_copied(run: Run) -> bool:
    """Whether its tiles have to be copied to be seen as one."""
    return run.tiles > 1 and run.spacing != run.queries


def _bias_bytes(layer: AttentionPattern, run: Run, size: int) -> int:
    """The corners of a tile that are not read, and the bias that they are put into."""
    if run.band_offset is None:
        return 0
    before = max(0, run.queries - run.band_offset - 1)
    behind = max(0, run.keys - ((layer.window or 0) - run.band_offset + 1))
    return run.queries * (before + behind + run.keys) * size


@dataclass(frozen=True, slots=True, kw_only=True)
class _GlobalRows:
    """Bytes of what global tokens read.

    Attributes:
        forward: the most while it is computed.
        output: of it.
        saved: what it leaves for the backward pass, the output included.
        backward: the most while its gradients are made, beside three activations and weights.
    """

    forward: int = 0
    output: int = 0
    saved: int = 0
    backward: int = 0

    @classmethod
    def of(cls, workload: Workload, layer: AttentionPattern) -> _GlobalRows:
        g = len(layer.global_positions)
        if g == 0:
            return cls()
        n, heads, width = workload.seq_len, workload.num_heads, workload.hidden_size
        rows = activation_bytes(workload, g)
        if absorbs(n, width, heads, g):
            return cls._absorbed(workload, rows, g)
        activation = activation_bytes(workload, n)
        weight = weight_bytes(workload)
        return cls(
            forward=3 * rows + 2 * activation + flash_cpu_forward_bytes(workload, g, n),
            output=rows,
            saved=4 * rows + 2 * activation,
            backward=max(
                4 * rows + 4 * activation + flash_cpu_backward_bytes(workload, g, n),
                3 * rows + 3 * activation + weight,
                2 * rows + 2 * activation + 2 * weight,
                rows + activation + 3 * weight,
            ),
        )

    @classmethod
    def _absorbed(cls, workload: Workload, rows: int, g: int) -> _GlobalRows:
        size, b = workload.dtype_bytes, workload.batch_size
        scores = b * workload.num_heads * g * workload.seq_len
        wide = rows * workload.num_heads
        weights = scores * (4 + (size if size != 4 else 0))
        activation = activation_bytes(workload, workload.seq_len)
        weight = weight_bytes(workload)
        return cls(
            forward=4 * rows + 2 * wide + scores * size + weights,
            output=rows,
            saved=4 * rows + 2 * wide + weights,
            backward=max(
                activation + weight + 6 * rows + 3 * wide + weights + scores * size,
                activation + 3 * weight + 2 * rows,
            ),
        )
