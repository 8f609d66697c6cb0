"""Published formulas: their sources' numbers, and differences that leave nothing unexplained."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnprof import AttentionPattern, AttentionStack, Workload
from attnprof.core import published_formulas
from attnprof.core.formulas import useful_macs
from attnprof.core.published_formulas import ModelSizes

GPT2 = ModelSizes(
    layers=12,
    heads=12,
    kv_heads=12,
    head_dim=64,
    value_dim=64,
    hidden_size=768,
    feed_forward=3072,
    seq_len=1024,
    batch_size=1,
    parameters=84_953_856,
    vocab_size=50_257,
    is_causal=True,
    is_training=True,
)
"""GPT-2 of 124 M parameters without biases, as in nanoGPT's `transformer_sizing.ipynb`."""


def test_every_formula_is_found_and_names_its_source() -> None:
    names = published_formulas.names()
    assert {"palm", "nanogpt", "torchtitan", "megatron-lm", "flash-attention"} < {*names}
    assert {"transformers", "chinchilla"} < {*names}
    for name in names:
        formula = published_formulas.find(name)
        assert formula.title
        assert formula.expression
        assert formula.source


@pytest.mark.parametrize("name", ["palm", "nanogpt", "torchtitan"])
def test_gpt2_costs_what_nanogpts_notebook_prints(name: str) -> None:
    assert published_formulas.find(name).flops(GPT2) == 875_062_886_400


@pytest.mark.parametrize(
    ("layers", "hidden", "heads", "flops"),
    [
        (10, 640, 10, 929_877_196_800),
        (20, 1024, 16, 4_135_248_199_680),
        (24, 1280, 10, 7_353_453_772_800),
        (40, 3584, 28, 83_021_046_743_040),
    ],
)
def test_chinchillas_models_cost_what_its_table_a4_is_reproduced_with(
    layers: int, hidden: int, heads: int, flops: int
) -> None:
    """The figures of nanoGPT's `scaling_laws.ipynb`, without embeddings and logits."""
    sizes = replace(
        GPT2,
        layers=layers,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        value_dim=hidden // heads,
        hidden_size=hidden,
        feed_forward=4 * hidden,
        seq_len=2048,
        vocab_size=0,
    )
    assert published_formulas.find("chinchilla").flops(sizes) == flops


@pytest.mark.parametrize("causal", [False, True])
def test_flash_attentions_benchmark_counts_the_same(causal: bool) -> None:
    def published(mode: str) -> float:
        f = 4 * 2 * 1024**2 * 12 * 64 // (2 if causal else 1)
        return f if mode == "fwd" else 3.5 * f

    formula = published_formulas.find("flash-attention")
    for is_training, mode in ((False, "fwd"), (True, "fwd_bwd")):
        sizes = replace(GPT2, batch_size=2, is_causal=causal, is_training=is_training, layers=1)
        assert formula.flops(sizes) == published(mode)


def test_megatrons_two_ways_of_counting_attention_agree() -> None:
    """`hybrid_flops` of the same file counts attention and feed-forward in other words."""
    sizes = replace(GPT2, kv_heads=4, batch_size=3)
    b, s, h, p = sizes.batch_size, sizes.seq_len, sizes.hidden_size, 64 * 12 / 768
    attention = 4 * b * s * h * p * (h + h * (4 / 12) + s / 2)
    feed_forward = 4 * 4.0 * 1.0 * b * s * h**2
    logits = 2 * b * s * h * sizes.vocab_size
    expected = 3 * (12 * attention + 12 * feed_forward + logits)
    assert published_formulas.find("megatron-lm").flops(sizes) == expected


def test_transformers_trainer_counts_the_same_for_a_real_model() -> None:
    import torch
    from transformers import BertConfig, BertModel, Trainer

    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        vocab_size=50,
    )
    model = BertModel(config, add_pooling_layer=False)
    tokens = torch.zeros(3, 16, dtype=torch.long)
    published = Trainer.floating_point_ops(SimpleNamespace(model=model), {"input_ids": tokens})
    layer = AttentionPattern.dense(4)
    workload = Workload(
        AttentionStack(layers=(layer, layer)), 16, 32, 3, mode="training", scope="layer"
    )
    sizes = ModelSizes.of(workload)
    norm = sum(p.numel() for p in model.embeddings.LayerNorm.parameters())
    sizes = replace(sizes, parameters=sizes.parameters + norm)
    assert published_formulas.find("transformers").flops(sizes) == published


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Calls in both modes and scopes: windows, sinks, dense layers, grouped heads, any widths."""
    heads, causal = draw(st.sampled_from([1, 2, 3, 4])), draw(st.booleans())
    seq_len = draw(st.integers(1, 90))
    positions = tuple(draw(st.sets(st.integers(0, seq_len - 1), max_size=3)))

    def layer() -> AttentionPattern:
        if draw(st.booleans()):
            return AttentionPattern.dense(heads, causal=causal)
        window = draw(st.integers(1, 40))
        strides = draw(st.lists(st.integers(1, 4), min_size=heads, max_size=heads))
        return AttentionPattern.sliding(
            window if causal else 2 * window, strides, positions, heads, causal=causal
        )

    layers = tuple(layer() for _ in range(draw(st.integers(1, 3))))
    return Workload(
        layers[0] if len(layers) == 1 else AttentionStack(layers=layers),
        seq_len,
        hidden_size=draw(st.integers(1, 40)),
        batch_size=draw(st.integers(1, 3)),
        mode=draw(st.sampled_from(["inference", "training"])),
        scope=draw(st.sampled_from(["attention", "layer"])),
        kv_heads=draw(st.sampled_from([k for k in range(1, heads + 1) if heads % k == 0])),
        head_dim=draw(st.integers(1, 9)),
        value_dim=draw(st.integers(1, 9)),
    )


@given(workloads(), st.integers(0, 20))
def test_no_formula_leaves_a_mac_unexplained(workload: Workload, vocab_size: int) -> None:
    sizes = ModelSizes.of(workload, vocab_size)
    for name in published_formulas.names():
        formula = published_formulas.find(name)
        differences = formula.differences(workload, sizes)
        explained = useful_macs(workload) + sum(differences.values())
        assert formula.flops(sizes) / 2 == explained, name
        assert 0 not in differences.values()
