"""The published shapes of models, and how a call is recognized as one of them."""

from __future__ import annotations

import pytest
from transformers import GptOssConfig, MistralConfig, ModernBertConfig

from attnprof.core.presets import MODELS, ModelShape, find_model, find_model_of
from attnprof.core.workload import Workload
from attnprof.kernels.custom.published import PUBLISHED
from attnprof.options import read_workloads

each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def workload_of(name: str, **options: object) -> Workload:
    return read_workloads({"model": name, "len": 64, **options}, "cpu")[0]  # type: ignore[typeddict-item]


def windows_of(name: str) -> list[int | None]:
    """The window of each layer."""
    layers = [layer.window for layer in workload_of(name).layers]
    return layers if len(layers) > 1 else layers * find_model(name).num_layers


@each_model
def test_a_model_has_a_window_for_each_layer_or_one_for_all(model: ModelShape) -> None:
    assert len(windows_of(model.name)) == model.num_layers


@pytest.mark.parametrize("name", ["modernbert-base", "mistral-7b", "gemma-3", "gpt-oss-20b"])
def test_a_call_is_recognized_by_its_sizes_and_windows(name: str) -> None:
    assert find_model_of(workload_of(name)) is find_model(name)


def test_models_of_equal_sizes_are_told_apart_by_their_windows() -> None:
    assert find_model_of(workload_of("qwen3")) is find_model("qwen3")
    other = find_model_of(workload_of("qwen3", window="1000"))
    assert other is find_model("mistral-7b")
    assert find_model_of(workload_of("bert-base", kv_heads=4)) is None
    assert find_model_of(workload_of("bert-base", causal=True)) is find_model("bert-base")


def test_shapes_are_those_of_transformers_configs_where_these_are_the_published_ones() -> None:
    mistral, modernbert = MistralConfig(), ModernBertConfig()
    for name, config in (("mistral-7b", mistral), ("modernbert-base", modernbert)):
        model = find_model(name)
        assert model.hidden_size == config.hidden_size
        assert model.num_heads == config.num_attention_heads
        assert model.num_layers == config.num_hidden_layers
    assert windows_of("mistral-7b") == [mistral.sliding_window] * 32
    assert find_model("mistral-7b").kv_heads == mistral.num_key_value_heads
    assert windows_of("modernbert-base") == [
        None if kind == "full_attention" else modernbert.local_attention
        for kind in modernbert.layer_types
    ]
    gpt_oss = GptOssConfig()
    alternating = [gpt_oss.sliding_window, None] * 12
    assert windows_of("gpt-oss-20b") == alternating
    model = find_model("gpt-oss-20b")
    assert (model.hidden_size, model.num_heads, model.kv_heads, model.head_dim) == (
        gpt_oss.hidden_size,
        gpt_oss.num_attention_heads,
        gpt_oss.num_key_value_heads,
        gpt_oss.head_dim,
    )


def test_every_sixth_layer_of_gemma_is_dense() -> None:
    """Gemma 3, arXiv 2503.19786, section 2: five local layers for each global one."""
    windows = windows_of("gemma-3")
    assert windows == [None if index % 6 == 5 else 1024 for index in range(34)]


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_shapes_agree_with_the_configs_that_are_run(name: str) -> None:
    model, values = find_model(name), PUBLISHED[name].values
    is_led = values["model_type"] == "led"
    heads = values["encoder_attention_heads" if is_led else "num_attention_heads"]
    width, layers = (
        (values["d_model"], values["encoder_layers"])
        if is_led
        else (values["hidden_size"], values["num_hidden_layers"])
    )
    assert (model.hidden_size, model.num_heads, model.num_layers) == (width, heads, layers)
    assert (model.kv_heads or heads) == values.get("num_key_value_heads", heads)
    assert model.head_dim == values.get("head_dim", 0)
    window = values.get("sliding_window") or values.get("local_attention")
    if window is not None:
        assert set(windows_of(name)) - {None} == {window}
