"""Formulas with numbers put in: what they say is evaluated here, and must be what is executed."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnprof import AttentionPattern, AttentionStack, Workload, kernels
from attnprof.analysis.explanation import explain, explain_table
from attnprof.core.formulas import useful_macs
from attnprof.core.result_table import ResultTable
from attnprof.measure.static_costs import estimate_records
from attnprof.options import read_cases
from attnprof.report.explanation import render_explanations

_EXPONENTS = {"": 1, "²": 2, "³": 3}


def evaluated(numbers: str) -> int:
    """The value of a product such as `3 · 1 · 4,096 · 768²`."""
    factors = [re.fullmatch(r"([\d,]+)([²³]?)", factor) for factor in numbers.split(" · ")]
    assert all(factors), numbers
    return math.prod(int(f[1].replace(",", "")) ** _EXPONENTS[f[2]] for f in factors if f)


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    heads, seq_len = draw(st.sampled_from([1, 2, 12])), draw(st.integers(1, 900))
    positions = draw(st.lists(st.integers(0, seq_len - 1), max_size=3, unique=True))
    strides = st.lists(st.sampled_from([1, 1, 2, 3]), min_size=heads, max_size=heads)
    layers = [
        AttentionPattern.sliding(
            draw(st.sampled_from([2, 8, 16, 64])), draw(strides), positions, num_heads=heads
        )
        for _ in range(draw(st.sampled_from([1, 1, 3])))
    ]
    return Workload(
        AttentionStack(layers=tuple(layers)) if len(layers) > 1 else layers[0],
        seq_len,
        8 * heads,
        batch_size=draw(st.integers(1, 3)),
        dtype=draw(st.sampled_from(["float32", "bfloat16"])),
        device=draw(st.sampled_from(["cpu", "cuda"])),
        mode=draw(st.sampled_from(["inference", "training"])),
        scope=draw(st.sampled_from(["attention", "layer"])),
    )


@pytest.mark.parametrize("name", kernels.names())
@given(data=st.data())
@settings(max_examples=60)
def test_numbers_evaluate_to_the_terms_and_these_add_up_to_the_executed_macs(
    name: str, data: st.DataObject
) -> None:
    kernel, workload = kernels.find(name), data.draw(workloads())
    if kernel.pattern_support == "dense":
        workload = workload.densified()
    if "dilation" in (kernel.unsupported_reason(workload) or ""):
        workload = without_dilation(workload)
    terms = explain(name, workload)
    assert sum(term.macs for term in terms) == kernel.executed_macs(workload)
    for term in terms:
        assert evaluated(term.numbers) == term.macs
        assert term.formula.count("·") == term.numbers.count("·")
        assert term.source


def without_dilation(workload: Workload) -> Workload:
    layers = tuple(
        AttentionPattern.sliding(16, 1, layer.global_positions, layer.num_heads)
        for layer in workload.layers
    )
    pattern = AttentionStack(layers=layers) if len(layers) > 1 else layers[0]
    return Workload(
        pattern,
        workload.seq_len,
        workload.hidden_size,
        batch_size=workload.batch_size,
        mode=workload.mode,
        scope=workload.scope,
    )


@given(workloads())
def test_useful_terms_are_projections_and_attended_pairs(workload: Workload) -> None:
    rows = 3 * workload.seq_len
    if workload.layers[0].global_positions:
        rows += 2 * workload.seq_len + len(workload.layers[0].global_positions)
    if workload.scope == "layer":
        rows += 9 * workload.seq_len
    weights = len(workload.layers) * rows * workload.hidden_size**2
    pairs = sum(layer.pairs(workload.seq_len) for layer in workload.layers)
    forward = workload.batch_size * (weights + 2 * workload.head_dim * pairs)
    assert useful_macs(workload) == forward * (3 if workload.mode == "training" else 1)


def test_the_formula_of_hugging_face_is_the_papers() -> None:
    workload = Workload(AttentionPattern.sliding(512, 1, (0,)), 4096)
    shown = [f"{term.formula} = {term.numbers}" for term in explain("longformer-hf", workload)]
    assert shown == [
        "3·b·n·D² = 3 · 1 · 4,096 · 768²",
        "b·(2n+g)·D² = 1 · 8,193 · 768²",
        "b·(2n/w−1)·w²·D = 1 · 15 · 512² · 768",
        "b·n·(3w/2)·D = 1 · 4,096 · 768 · 768",
        "4·b·g·n·D = 4 · 1 · 1 · 4,096 · 768",
    ]


def explained(width: int = 80, **options: object) -> str:
    table = ResultTable(estimate_records(read_cases(options, "cpu")))
    return "\n".join(text.plain for text in render_explanations(explain_table(table), width))


def test_one_explanation_for_each_kernel_and_pattern_at_its_longest_length() -> None:
    text = explained(kernel=["bert-eager", "longformer-hf"], len=[128, 1000], window=[64, 128])
    headings = [line for line in text.splitlines() if " at " in line and line[0] != " "]
    assert headings == [
        "bert-eager at 1,000 tokens",
        "longformer-hf w=64 at 1,000 tokens, padded to 1,024",
        "longformer-hf w=128 at 1,000 tokens, padded to 1,024",
    ]
    # the scores and their softmax, twice; query, key and value: bytes of float32
    assert f"{2 * 12 * 4}·n² + {3 * 768 * 4:,}·n bytes" in text


def test_fewer_macs_than_useful_are_explained() -> None:
    text = explained(kernel="longformer-banded", len=4096, global_tokens=1)
    assert "executed / useful is 0.70x" in text
    assert "no second projection of all keys" in text
    assert "no second projection" not in explained(kernel="longformer-hf", len=4096)


def test_symbols_are_explained_where_they_are_used() -> None:
    text = explained(kernel="bert-sdpa", len=512, mode="training")
    legend = " ".join(text.split("\n\n")[0].split())
    assert "T products in training" in legend
    assert "w window" not in legend


def test_a_custom_kernel_is_explained_by_its_counted_operators() -> None:
    workload = kernels.find("mixers:Dense").adapt_workload(
        Workload(AttentionPattern.dense(4), 96, 64)
    )
    terms = explain("mixers:Dense", workload)
    assert {term.formula for term in terms} == {""}
    assert sum(term.macs for term in terms) == kernels.find("mixers:Dense").executed_macs(workload)
    assert all(term.name.startswith("aten.") and term.macs for term in terms)


def test_explanations_fit_eighty_columns() -> None:
    for mode in ("inference", "training"):
        text = explained(mode=mode, scope="layer", window="64:128:256", len=4096, batch_size=8)
        assert max(map(len, text.splitlines())) <= 80
