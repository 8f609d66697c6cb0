"""Published configs by name, against the parameters that their papers and model cards state."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload
from attnprof.kernels import custom
from attnprof.kernels.custom.published import PUBLISHED

PARAMETERS = {
    "mistral-7b": (7.24e9, 32000 * 4096),
    "gemma-3": (3.88e9, 0),
    "gpt-oss-20b": (20.91e9, 201088 * 2880),
    "modernbert-base": (149e6, 0),
    "qwen3": (8.19e9, 151936 * 4096),
    "longformer-base-4096": (148.7e6, 0),
    "bert-base": (109.5e6, 0),
}
"""As published, and those of a head that is not tied to the embeddings, which models here lack."""


def workload(name: str, seq_len: int = 64) -> Workload:
    return custom.find(name).adapt_workload(Workload(AttentionPattern.dense(12), seq_len))


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_model_has_the_parameters_that_were_published(name: str) -> None:
    published, head = PARAMETERS[name]
    parameters = custom.find(name).parameters(workload(name))
    assert parameters + head == pytest.approx(published, rel=4e-3)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_config_says_whose_it_is_and_has_a_shape(name: str) -> None:
    assert ";" in PUBLISHED[name].source
    assert custom.is_reference(name)
    shape = workload(name)
    values = PUBLISHED[name].values
    assert shape.hidden_size == values.get("hidden_size", values.get("d_model"))
    assert custom.find(name).unsupported_reason(shape) is None


def test_a_part_and_inputs_can_be_named() -> None:
    part = custom.find("mistral-7b::layers.0.self_attn")
    projections = 2 * 4096 * 128 * (32 + 8)
    assert part.parameters(workload("mistral-7b")) == projections
    assert custom.find("led-base").unsupported_reason(workload("led-base", 16384)) is None
    longer = custom.find("led-base(decoder_input_ids=batch,1025)")
    reason = longer.unsupported_reason(workload("led-base", 16384))
    assert reason == "the config has positions for 1,024 tokens only"


def test_a_config_with_another_head_width_in_each_layer_can_be_costed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gemma4_text"}')
    adapted = custom.find(str(tmp_path)).adapt_workload(Workload(AttentionPattern.dense(12), 8))
    assert adapted.hidden_size % adapted.num_heads == 0


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bert-base").mkdir()
    (tmp_path / "bert-base" / "config.json").write_text('{"model_type": "no-such"}')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="transformers has no model_type no-such"):
        custom.find("bert-base")
