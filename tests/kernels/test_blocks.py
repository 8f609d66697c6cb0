"""The blocks that each built-in kernel computes, against its MACs and the enumerated mask."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from workloads import HEADS, HIDDEN, sliding

from attnprof import AttentionPattern, AttentionStack, Workload, kernels
from attnprof.core.blocks import BlockRun, ComputedBlocks, pairs_in_cells
from attnprof.kernels import BuiltInKernel

aten = torch.ops.aten

ABSORBING = ("longformer-banded", "longformer-triton")
"""Kernels that multiply few global queries with weights, in place of the keys of all tokens."""


@st.composite
def workloads(draw: st.DrawFn, longest: int = 700) -> Workload:
    seq_len = draw(st.integers(1, longest))
    stride = st.sampled_from((1, 1, 1, 2, 3, 9, 130, 400))
    strides = st.one_of(
        stride.map(lambda one: (one,) * HEADS),
        st.lists(stride, min_size=HEADS, max_size=HEADS).map(tuple),
    )
    positions = draw(st.lists(st.integers(0, seq_len - 1), max_size=4))
    causal = draw(st.booleans())
    side = draw(st.sampled_from((1, 2, 3, 4, 8, 10, 32, 64, 100)))
    right = 0 if causal else draw(st.sampled_from((side, side, 0, 5)))
    head_dim = draw(st.sampled_from((0, 0, 8)))
    layers = tuple(
        sliding((side * times, right * times), draw(strides), positions, causal=causal)
        for times in draw(st.lists(st.integers(1, 2), min_size=1, max_size=2))
    )
    if draw(st.booleans()):
        layers = (*layers, AttentionPattern.dense(HEADS, causal=causal))
    return Workload(
        layers[0] if len(layers) == 1 else AttentionStack(layers=layers),
        seq_len,
        HIDDEN * draw(st.integers(1, 4)),
        batch_size=draw(st.integers(1, 2)),
        dtype=draw(st.sampled_from(("float32", "bfloat16"))),
        device=draw(st.sampled_from(("cpu", "cuda"))),
        mode=draw(st.sampled_from(("inference", "training"))),
        scope="layer" if head_dim else draw(st.sampled_from(("attention", "layer"))),
        kv_heads=draw(st.sampled_from((0, 1, 2))),
        head_dim=head_dim,
        value_dim=draw(st.sampled_from((0, 0, 4))) if head_dim else 0,
    )


def as_computed(kernel: BuiltInKernel, workload: Workload) -> Workload:
    """The workload, without as many of its features as it takes until a kernel has the rest."""
    head_dim = (
        0 if workload.head_dim == workload.hidden_size // workload.num_heads else workload.head_dim
    )
    sparse = tuple(layer for layer in workload.layers if not layer.is_dense)
    for make_layer, of_layers in (
        *((change, workload.layers) for change in (unchanged, symmetric, without_sinks)),
        *((change, sparse) for change in (unchanged, symmetric, undilated, without_sinks)),
        *((change, workload.layers) for change in (as_dense, as_dense_symmetric)),
    ):
        layers = tuple(make_layer(layer) for layer in of_layers)
        for kv_heads, width, value_dim in (
            (workload.kv_heads, head_dim, workload.value_dim),
            (workload.kv_heads, head_dim, 0),
            (workload.kv_heads, 0, 0),
            (0, 0, 0),
        ):
            simpler = replace(
                workload,
                pattern=layers[0] if len(layers) == 1 else AttentionStack(layers=layers),
                kv_heads=kv_heads,
                head_dim=width,
                value_dim=value_dim,
            )
            if kernel.unsupported_reason(simpler) is None:
                return simpler
    assume(False)
    return workload


def unchanged(layer: AttentionPattern) -> AttentionPattern:
    return layer


def symmetric(layer: AttentionPattern) -> AttentionPattern:
    if layer.left is None:
        return AttentionPattern.dense(layer.num_heads)
    side = max(2, layer.left)
    return replace(layer, left=side, right=side, causal=False)


def undilated(layer: AttentionPattern) -> AttentionPattern:
    return replace(symmetric(layer), dilation=())


def without_sinks(layer: AttentionPattern) -> AttentionPattern:
    return replace(layer, dilation=(), global_positions=(), right=0, causal=True)


def as_dense(layer: AttentionPattern) -> AttentionPattern:
    return AttentionPattern.dense(layer.num_heads, causal=layer.causal)


def as_dense_symmetric(layer: AttentionPattern) -> AttentionPattern:
    return AttentionPattern.dense(layer.num_heads)


def macs_of_weights(name: str, workload: Workload) -> int:
    """All executed MACs that are no product of pairs, from the kernels' descriptions."""
    n, width, batch = workload.seq_len, workload.hidden_size, workload.batch_size
    if name == "longformer-hf":
        widest = max(layer.window or 0 for layer in workload.layers)
        n = -(-n // widest) * widest
    heads, query = workload.num_heads, workload.query_width
    keys, output = workload.key_width + workload.value_width, workload.output_width
    macs = 0
    for layer in workload.layers:
        g = len(layer.symmetric_globals)
        macs += n * width * (query + keys)
        absorbed = g * width * (query + output + 2 * heads * n)
        projected = n * (width * keys + g * (query + output))
        if name in ABSORBING and g and absorbed < projected:
            # the queries, and the absorbed projections of keys and values
            macs += g * width * (2 * query + output)
        elif g:
            macs += width * (g * query + n * keys)
        if workload.scope == "layer":
            macs += n * width * (output + 8 * width)
    return macs * batch * (3 if workload.mode == "training" else 1)


each_kernel = pytest.mark.parametrize("name", kernels.names())


@each_kernel
@settings(max_examples=60)
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
@settings(max_examples=60)
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


class ProductShapes(TorchDispatchMode):
    """How many products of queries by keys there are of each size, as torch dispatches them."""

    def __init__(self, *, is_fused: bool) -> None:
        super().__init__()
        self.is_fused = is_fused
        self.scores: Counter[tuple[int, int]] = Counter()
        self.context: Counter[tuple[int, int]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is aten._scaled_dot_product_flash_attention_for_cpu:
            (batch, heads, queries, _), keys = args[0].shape, args[1].shape[2]
            self.scores[queries, keys] += batch * heads
            self.context[queries, keys] += batch * heads
        elif func.overloadpacket is aten.bmm and not self.is_fused:
            (products, queries, inner), columns = args[0].shape, args[1].shape[2]
            if inner == HIDDEN // HEADS:
                self.scores[queries, columns] += products
            else:
                self.context[queries, inner] += products
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "name",
    [name for name in kernels.names() if name not in ("longformer-flex", "longformer-triton")],
)
@pytest.mark.parametrize(
    ("positions", "causal"),
    [((), False), ((3, 4, 170), False), ((3, 4, 170), True)],
    ids=["no_globals", "globals", "sinks"],
)
def test_blocks_have_the_shapes_of_the_operators_of_a_run(
    name: str, positions: tuple[int, ...], causal: bool
) -> None:
    """Of FlexAttention and Triton kernels, tests/nn compares the blocks."""
    kernel = kernels.find_built_in(name)
    pattern = sliding(40, (1, 1, 2, 5), positions, causal=causal)
    workload = as_computed(kernel, Workload(pattern, 300, HIDDEN, kv_heads=2))
    is_fused = name != "longformer-hf" and not name.endswith("eager")
    with ProductShapes(is_fused=is_fused) as ran:
        kernel.build(workload).run()
    for product in ("scores", "context"):
        expected: Counter[tuple[int, int]] = Counter()
        for head in range(HEADS):
            for part in kernel.blocks(workload, workload.layers[0], head):
                # Of hidden states, not of projected keys, no operator of attention is called.
                if getattr(part, product) and part.features == workload.head_dim:
                    for run in part.runs:
                        expected[len(run.queries), len(run.keys)] += run.count
        sizes = getattr(ran, product)
        assert pairs_of(expected) == pairs_of(sizes)
        # An operator may take the queries or keys of several global tokens at once.
        of_chunks = {size: count for size, count in expected.items() if min(size) > len(positions)}
        assert Counter(of_chunks) <= sizes


def pairs_of(sizes: Counter[tuple[int, int]]) -> int:
    return sum(count * queries * keys for (queries, keys), count in sizes.items())


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
