"""The blocks that each built-in kernel computes, against its MACs and the enumerated mask."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from workloads import HEADS, HIDDEN, sliding

from attnprof import AttentionPattern, AttentionStack, Workload, kernels
from attnprof.core.blocks import BlockRun, ComputedBlocks, pairs_in_cells
from attnprof.kernels import BuiltInKernel


@st.composite
def workloads(draw: st.DrawFn, longest: int = 700) -> Workload:
    seq_len = draw(st.integers(1, longest))
    stride = st.sampled_from((1, 1, 1, 2, 3, 9, 130, 400))
    strides = st.one_of(
        stride.map(lambda one: (one,) * HEADS),
        st.lists(stride, min_size=HEADS, max_size=HEADS).map(tuple),
    )
    positions = draw(st.lists(st.integers(0, seq_len - 1), max_size=4))
    half_window = draw(st.sampled_from((1, 2, 3, 4, 8, 10, 32, 64, 100)))
    layers = tuple(
        sliding(2 * half_window * times, draw(strides), positions)
        for times in draw(st.lists(st.integers(1, 2), min_size=1, max_size=2))
    )
    return Workload(
        layers[0] if len(layers) == 1 else AttentionStack(layers=layers),
        seq_len,
        HIDDEN * draw(st.integers(1, 4)),
        batch_size=draw(st.integers(1, 2)),
        dtype=draw(st.sampled_from(("float32", "bfloat16"))),
        device=draw(st.sampled_from(("cpu", "cuda"))),
        mode=draw(st.sampled_from(("inference", "training"))),
        scope=draw(st.sampled_from(("attention", "layer"))),
    )


def as_computed(kernel: BuiltInKernel, workload: Workload) -> Workload:
    """The workload, dense for dense kernels and without dilation for those that have none."""
    if kernel.pattern_support == "dense":
        return workload.densified()
    if kernel.name == "longformer-hf":
        layers = [sliding(2 * max(2, (layer.window or 0) // 2), 1, layer.global_positions)
                  for layer in workload.layers]  # fmt: skip
        pattern = layers[0] if len(layers) == 1 else AttentionStack(layers=tuple(layers))
        workload = Workload(
            pattern,
            workload.seq_len,
            workload.hidden_size,
            workload.batch_size,
            workload.dtype,
            workload.device,
            workload.mode,
            workload.scope,
        )
        assume(kernel.unsupported_reason(workload) is None)
    return workload


def macs_of_weights(name: str, workload: Workload) -> int:
    """All executed MACs that are no product of pairs, from the kernels' descriptions."""
    n, width, batch = workload.seq_len, workload.hidden_size, workload.batch_size
    if name == "longformer-hf":
        widest = max(layer.window or 0 for layer in workload.layers)
        n = -(-n // widest) * widest
    macs = 0
    for layer in workload.layers:
        g = len(layer.global_positions)
        rows = 3 * n
        if g and name == "longformer-banded" and g * workload.num_heads * n * width + (
            g * width**2
        ) < n * width**2 + g * n * width:  # fmt: skip
            rows += 3 * g  # the queries, and the absorbed projections of keys and values
        elif g:
            rows += 2 * n + g
        macs += rows * width**2
        if workload.scope == "layer":
            macs += 9 * n * width**2
    return macs * batch * (3 if workload.mode == "training" else 1)


each_kernel = pytest.mark.parametrize("name", kernels.names())


@each_kernel
@given(workloads())
@example(Workload(AttentionPattern.sliding(512, 1, (0,)), 4096))
@example(Workload(AttentionPattern.sliding(512, 1, (0, 77)), 5000, mode="training"))
def test_products_over_the_blocks_and_of_weights_are_all_executed_macs(
    name: str, workload: Workload
) -> None:
    kernel = kernels.find_built_in(name)
    workload = as_computed(kernel, workload)
    over_blocks = sum(
        computed.macs
        for layer in workload.layers
        for head in range(workload.num_heads)
        for computed in kernel.blocks(workload, layer, head)
    )
    expected = macs_of_weights(name, workload) + workload.batch_size * over_blocks
    assert expected == kernel.executed_macs(workload)


def times_computed(computed: tuple[ComputedBlocks, ...], product: str, tokens: int) -> np.ndarray:
    """How often each pair inside the sequence is in a block of that product."""
    times = np.zeros((tokens, tokens), dtype=np.int64)
    for part in computed:
        for run in part.runs if getattr(part, product) else ():
            for queries, keys in run.blocks():
                rows, columns = (
                    [position for position in positions if 0 <= position < tokens]
                    for positions in (queries, keys)
                )
                times[np.ix_(rows, columns)] += 1
    return times


@each_kernel
@given(workloads(longest=300))
def test_every_attended_pair_is_in_a_block_of_every_product(name: str, workload: Workload) -> None:
    kernel = kernels.find_built_in(name)
    workload = as_computed(kernel, workload)
    n = workload.seq_len
    for layer in workload.layers:
        mask = layer.mask(n)
        for head in range(workload.num_heads):
            computed = kernel.blocks(workload, layer, head)
            for product in ("scores", "context", "backward"):
                if product != "backward" or workload.mode == "training":
                    assert times_computed(computed, product, n)[mask[head]].all()
            edges = np.unique([0, n // 3, n // 2, n])
            runs = [run for part in computed if part.scores for run in part.runs]
            times = times_computed(computed, "scores", n)
            in_cells = np.add.reduceat(np.add.reduceat(times, edges[:-1], 0), edges[:-1], 1)
            assert np.array_equal(pairs_in_cells(runs, edges), in_cells)


def test_blocks_of_the_hugging_face_kernel_are_its_chunks() -> None:
    workload = Workload(sliding(8, positions=(3,)), 20, HIDDEN)
    scores, context, of_globals = kernels.find_built_in("longformer-hf").blocks(
        workload, workload.layers[0], 0
    )
    # padded to 24 tokens
    assert [next(run.blocks()) for run in scores.runs] == [(range(8), range(8))]
    assert list(scores.runs[0].blocks())[-1] == (range(16, 24), range(16, 24))
    assert next(context.runs[0].blocks()) == (range(4), range(-4, 8))
    assert list(context.runs[0].blocks())[-1] == (range(20, 24), range(16, 28))
    assert of_globals.runs == (
        BlockRun(range(24), range(3, 4)),
        BlockRun(range(3, 4), range(24)),
    )


@pytest.mark.parametrize("name", ["longformer-banded", "longformer-flex", "longformer-hf"])
def test_blocks_of_a_million_tokens_are_a_few_runs(name: str) -> None:
    workload = Workload(AttentionPattern.sliding(512), 2**20)
    computed = kernels.find_built_in(name).blocks(workload, workload.layers[0], 0)
    runs = [run for part in computed for run in part.runs]
    assert len(runs) <= 2**20 // 128
    assert max(Counter(run.count for run in runs)) >= 5
