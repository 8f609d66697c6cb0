"""The parts of executed MACs, against closed forms of the field."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builtin_kernels import supported
from hypothesis import given
from hypothesis import strategies as st
from workloads import WORKLOADS

from attnprof import AttentionPattern, Workload, kernels
from attnprof.core.formulas import useful_macs


@st.composite
def sparse_workloads(draw: st.DrawFn) -> Workload:
    heads = draw(st.sampled_from([1, 2, 4]))
    seq_len = draw(st.integers(16, 700))
    positions = draw(st.lists(st.integers(0, 15), max_size=3, unique=True))
    dilations = st.lists(st.sampled_from([1, 2, 3]), min_size=heads, max_size=heads)
    return Workload(
        AttentionPattern.sliding(
            4 * draw(st.integers(1, 40)), draw(dilations), sorted(positions), heads
        ),
        seq_len,
        8 * heads,
        batch_size=draw(st.integers(1, 3)),
        mode=draw(st.sampled_from(["inference", "training"])),
        scope=draw(st.sampled_from(["attention", "layer"])),
    )


@given(sparse_workloads())
def test_parts_add_up_to_the_executed_macs(workload: Workload) -> None:
    for name in kernels.names():
        kernel = kernels.find(name)
        costed = workload.densified() if kernel.pattern_support == "dense" else workload
        if kernel.unsupported_reason(costed) is None:
            parts = kernels.mac_parts(name, costed)
            assert parts is not None
            assert sum(parts.by_name().values()) == kernel.executed_macs(costed)
            assert all(macs >= 0 for macs in parts.by_name().values())


@pytest.mark.parametrize(("kernel", "workload"), supported(WORKLOADS))
def test_only_whole_layers_have_an_output_projection_and_a_feed_forward(
    kernel: kernels.Kernel, workload: Workload
) -> None:
    whole = kernels.mac_parts(kernel.name, replace(workload, scope="layer"))
    attention = kernels.mac_parts(kernel.name, replace(workload, scope="attention"))
    assert whole is not None
    assert attention is not None
    width, output = workload.hidden_size, workload.output_width
    of_projections = workload.query_width + workload.key_width + workload.value_width
    assert whole.projections == attention.projections
    assert whole.output_projection * of_projections == whole.projections * output
    assert whole.feed_forward * output == 8 * width * whole.output_projection
    assert attention.output_projection == attention.feed_forward == 0
    assert attention.scores + attention.context + attention.global_tokens > 0


def test_dense_attention_spends_as_much_on_scores_as_on_context() -> None:
    workload = Workload(AttentionPattern.dense(), 1024)
    parts = kernels.mac_parts("bert-sdpa", workload)
    assert parts is not None
    assert parts.scores == parts.context == 1024**2 * 768
    assert parts.projections == 3 * 1024 * 768**2
    assert parts.total == useful_macs(workload)


def test_without_global_tokens_there_are_no_macs_of_them() -> None:
    workload = Workload(AttentionPattern.sliding(64), 512)
    for name in ("longformer-hf", "longformer-banded", "longformer-masked", "longformer-flex"):
        parts = kernels.mac_parts(name, workload)
        assert parts is not None
        assert parts.global_tokens == 0


def test_global_tokens_of_hf_are_projections_rows_and_columns() -> None:
    workload = Workload(AttentionPattern.sliding(512, 1, (0,)), 4096)
    parts = kernels.mac_parts("longformer-hf", workload)
    assert parts is not None
    projections = (2 * 4096 + 1) * 768**2
    assert parts.global_tokens == projections + 4 * 4096 * 768
    assert parts.total == 17_528_586_240


def test_parts_of_custom_kernels_are_not_known() -> None:
    workload = Workload(AttentionPattern.dense(), 128)
    assert kernels.mac_parts("torch.nn:Identity", workload) is None
