"""FlexAttention: its blocks against those that torch computes, and its limitations."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_block_mask
from workloads import HIDDEN, sliding

import attnprof
from attnprof import AttentionPattern, Workload, kernels
from attnprof.nn.block_mask import BLOCK, block_scores
from attnprof.nn.flex import block_mask

flex = kernels.find("longformer-flex")


@st.composite
def patterns(draw: st.DrawFn) -> tuple[AttentionPattern, int]:
    seq_len = draw(st.integers(1, 600))
    heads = draw(st.integers(1, 3))
    causal = draw(st.booleans())
    if draw(st.integers(0, 7)) == 0:
        return AttentionPattern.dense(heads, causal=causal), seq_len
    stride = st.sampled_from((1, 1, 2, 9, 130, 300))
    return (
        AttentionPattern.sliding(
            (draw(st.integers(0, 200)), 0 if causal else draw(st.integers(0, 200))),
            draw(st.lists(stride, min_size=heads, max_size=heads)),
            draw(st.lists(st.integers(0, seq_len - 1), max_size=3)),
            num_heads=heads,
            causal=causal,
        ),
        seq_len,
    )


def pairs_without_rows(pattern: AttentionPattern, seq_len: int) -> torch.Tensor:
    """Bool `(heads, seq_len, seq_len)`: the band and the columns of global tokens."""
    if pattern.causal or pattern.is_dense:
        return torch.tensor(pattern.mask(seq_len))
    mask = torch.tensor(replace(pattern, global_positions=()).mask(seq_len))
    mask[:, :, list(pattern.global_positions)] = True
    return mask


@given(patterns())
@settings(max_examples=60)
def test_blocks_equal_those_that_torch_computes_from_all_pairs(
    drawn: tuple[AttentionPattern, int],
) -> None:
    pattern, seq_len = drawn
    pairs = pairs_without_rows(pattern, seq_len)
    theirs = create_block_mask(
        lambda batch, head, query, key: pairs[head, query, key],
        None,
        pattern.num_heads,
        seq_len,
        seq_len,
        device="cpu",
    )
    ours = block_mask(pattern, seq_len, torch.device("cpu"))
    assert torch.equal(ours.to_dense().expand_as(theirs.to_dense()), theirs.to_dense())
    sizes = torch.full((theirs.to_dense().shape[-1],), BLOCK)
    sizes[-1] = seq_len - BLOCK * (len(sizes) - 1)
    scores = (theirs.to_dense()[0] * sizes[:, None] * sizes).sum()
    assert block_scores(pattern, seq_len) == int(scores)


@given(patterns())
@settings(max_examples=40)
def test_all_pairs_of_full_blocks_are_attended(drawn: tuple[AttentionPattern, int]) -> None:
    pattern, seq_len = drawn
    pairs = pairs_without_rows(pattern, seq_len)
    ours = block_mask(pattern, seq_len, torch.device("cpu"))
    numbers: Any = ours.full_kv_num_blocks
    indices: Any = ours.full_kv_indices
    for head, row in ((h, r) for h in range(numbers.shape[1]) for r in range(numbers.shape[2])):
        for column in indices[0, head, row, : numbers[0, head, row]].tolist():
            block = pairs[head, row * BLOCK :][:BLOCK, column * BLOCK :][:, :BLOCK]
            assert bool(block.all())


def test_a_dilated_head_computes_whole_blocks_for_few_keys() -> None:
    useful = AttentionPattern.sliding(512, 8, num_heads=1).pairs(8192)
    assert block_scores(AttentionPattern.sliding(512, 8, num_heads=1), 8192) > 7 * useful


def test_unsupported_cases_on_cpu_have_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = Workload(sliding(8), 40, HIDDEN)
    assert "no backward pass on CPU" in str(
        flex.unsupported_reason(Workload(sliding(8), 40, HIDDEN, mode="training"))
    )
    assert "float64" in str(
        flex.unsupported_reason(Workload(sliding(8), 40, HIDDEN, dtype="float64"))
    )
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "C++ compiler" in str(flex.unsupported_reason(workload))


def test_flex_attention_still_has_no_backward_pass_on_a_cpu() -> None:
    """Fails once torch supports it; the reason above is then obsolete."""
    call = flex.build(Workload(sliding(8), 40, HIDDEN))
    with pytest.raises(Exception, match="does not support backward on CPU"):
        call.forward()


def test_uncompiled_flex_attention_is_an_error_and_not_dense_attention() -> None:
    call = flex.build(Workload(sliding(8), 40, HIDDEN))
    with (
        torch.compiler.set_stance("force_eager"),
        pytest.raises(RuntimeError, match="not compiled"),
    ):
        call.run()


def test_compare_reports_compile_time_separately_and_why_counters_fail() -> None:
    table = attnprof.compare(
        len=128, window=16, num_heads=4, hidden_size=80, kernel="longformer-flex", max_seconds=0.1
    )
    (row,) = table.rows
    assert row.status == "ok"
    assert "compiled in" in row.detail
    assert "torch_macs is empty: RuntimeError: FlexAttention is not compiled" in row.detail
    assert row.values["compile_ns"] > row.values["time_ns"]
    assert row.values["operator_macs"] == row.values["executed_macs"]
    assert not row.values.keys() & {"torch_macs", "ptflops_aten_macs"}
