"""Built-in kernels that decode: a real cache, against operators, storages and enumerated pairs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from decoding_workloads import DECODED
from torch.utils._pytree import tree_leaves
from workloads import CAUSAL, HIDDEN, sliding

from attnprof import AttentionPattern, Workload, kernels
from attnprof.core import formulas
from attnprof.core.cache_size import cache_bytes
from attnprof.counting.call import Call
from attnprof.counting.counters import operator
from attnprof.kernels.filled_cache import allocated_bytes
from attnprof.measure.output_checks import describe_wrong_output
from attnprof.measure.peak_memory import measure_peak_bytes

DECODING = (
    "bert-eager",
    "bert-sdpa",
    "mistral-eager",
    "mistral-sdpa",
    "longformer-masked",
    "longformer-banded",
)
SCALAR_BYTES = 12
"""Of the factor of scores, which `eager` multiplies as a tensor."""


def cases() -> list[object]:
    return [
        pytest.param(kernels.find_decoding(name), workload, id=f"{name}_{index}")
        for name in DECODING
        for index, workload in enumerate(DECODED)
        if kernels.find(name).unsupported_reason(workload) is None
    ]


on_all = pytest.mark.parametrize(("kernel", "workload"), cases())


def held(call: Call) -> list[torch.Tensor]:
    assert call.cache is not None
    return list(call.cache.tensors())


@on_all
def test_costs_are_those_of_a_real_call(kernel: kernels.DecodingKernel, workload: Workload) -> None:
    call = kernel.build(workload)
    inputs = [leaf for leaf in tree_leaves(call.kwargs) if isinstance(leaf, torch.Tensor)]
    static = [*call.module.parameters(), *call.module.buffers(), *inputs, *held(call)]
    assert kernel.static_bytes(workload) == allocated_bytes(static)
    assert kernel.parameters(workload) == sum(p.numel() for p in call.module.parameters())
    assert kernel.executed_macs(workload) == operator.count(lambda: kernel.build(workload))
    peak_bytes = measure_peak_bytes(call.run, "cpu")
    assert 0 <= peak_bytes - kernel.peak_bytes(workload) <= SCALAR_BYTES
    assert kernel.cache_bytes(workload) == allocated_bytes(held(call))


@on_all
def test_output_follows_the_definition_and_calls_repeat_it(
    kernel: kernels.DecodingKernel, workload: Workload
) -> None:
    call = kernel.build(workload)
    assert describe_wrong_output(call, workload) == ""
    first, second = call.run(), call.run()
    assert first.shape == (workload.batch_size, workload.queries, HIDDEN) or workload.head_dim == 20
    assert torch.equal(first, second)


@on_all
def test_blocks_are_the_macs_of_attention_and_cover_the_attended_pairs(
    kernel: kernels.DecodingKernel, workload: Workload
) -> None:
    weights = sum(term.macs for term in formulas.weight_terms(workload))
    macs = 0
    first = workload.seq_len - workload.queries
    for layer in workload.layers:
        mask = layer.mask(workload.seq_len)
        for head in range(layer.num_heads):
            covered = torch.zeros(workload.seq_len, workload.seq_len, dtype=torch.bool)
            for part in kernel.blocks(workload, layer, head):
                macs += part.macs * workload.batch_size
                for run in part.runs:
                    for queries, keys in run.blocks():
                        covered[
                            queries.start : queries.stop, keys.start : keys.stop : keys.step
                        ] = 1
            assert not covered[:first].any()
            assert not (torch.tensor(mask[head, first:]) & ~covered[first:]).any()
    assert kernel.executed_macs(workload) == weights + macs


def test_longformer_banded_multiplies_the_attended_pairs_and_no_others() -> None:
    kernel = kernels.find("longformer-banded")
    for workload in DECODED:
        if kernel.unsupported_reason(workload) is None:
            assert kernel.executed_macs(workload) == formulas.useful_macs(workload)


def test_only_the_window_grows_no_further() -> None:
    """A dense kernel's MACs and cache are linear in the context; those of a window constant."""
    dense, window = Workload(CAUSAL, 64, HIDDEN, mode="decode"), sliding(16, causal=True)
    bert, banded = kernels.find("bert-sdpa"), kernels.find("longformer-banded")
    macs = [bert.executed_macs(dense.at(n)) for n in (64, 128, 192)]
    assert macs[1] - macs[0] == macs[2] - macs[1] == 2 * 64 * HIDDEN
    windowed = replace(dense, pattern=window)
    assert banded.executed_macs(windowed) == banded.executed_macs(windowed.at(10_000_000))
    assert cache_bytes(windowed) == cache_bytes(windowed.at(10_000_000))
    assert banded.peak_bytes(windowed) == banded.peak_bytes(windowed.at(10_000_000))


def test_transformers_keeps_a_window_of_keys_as_a_view_of_one_key_more() -> None:
    """DynamicSlidingWindowLayer keeps W - 1 keys; its storage has those of the whole call."""
    workload = Workload(sliding(8, causal=True), 40, HIDDEN, mode="decode", new_tokens=3)
    kernel = kernels.find_decoding("mistral-sdpa")
    call = kernel.build(workload)
    call.run()
    per_token = 2 * HIDDEN * 4
    assert sum(tensor.nbytes for tensor in held(call)) == 7 * per_token
    assert kernel.cache_bytes(workload) == (7 + 3) * per_token
    assert cache_bytes(workload) == 8 * per_token


@pytest.mark.parametrize(
    ("name", "pattern", "reason"),
    [
        ("bert-sdpa", AttentionPattern.dense(4), "causal patterns only"),
        ("longformer-banded", sliding(8), "causal patterns only"),
        ("longformer-hf", sliding(8, causal=True), "not causal attention"),
        ("longformer-flex", sliding(8, causal=True), "no cache"),
        ("mistral-sdpa", sliding(1, causal=True), "window of 2 or more"),
    ],
)
def test_what_does_not_decode_says_why(name: str, pattern: AttentionPattern, reason: str) -> None:
    message = kernels.find(name).unsupported_reason(Workload(pattern, 40, HIDDEN, mode="decode"))
    assert message is not None
    assert reason in message


def test_attention_to_a_later_token_is_found() -> None:
    workload = Workload(CAUSAL, 40, HIDDEN, mode="decode", new_tokens=3)
    call = kernels.find("bert-sdpa").build(workload)
    call.kwargs["attention_mask"] = torch.ones_like(call.kwargs["attention_mask"])
    assert "output is" in describe_wrong_output(call, workload)


def test_a_forgotten_attention_sink_is_found() -> None:
    workload = Workload(sliding(8, positions=(0,), causal=True), 40, HIDDEN, mode="decode")
    call = kernels.find("longformer-banded").build(workload)
    other = kernels.find("longformer-banded").build(
        replace(workload, pattern=sliding(8, causal=True))
    )
    other.module.load_state_dict(call.module.state_dict())
    forgetful = replace(other, cache=call.cache, kwargs={**other.kwargs})
    assert "output is" in describe_wrong_output(forgetful, workload)
