"""Custom modules and configs: counts against closed forms, errors in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers
from estimate_in_process import estimate
from loaded_modules import loaded_by
from typer.testing import CliRunner

import attnprof
from attnprof import AttentionPattern, Workload, kernels
from attnprof.cli import app
from attnprof.core.errors import UsageError
from attnprof.counting.operator_counts import count_operators
from attnprof.kernels import custom
from attnprof.measure.peak_memory import measure_peak_bytes

HIDDEN, HEADS, LAYERS, FEED_FORWARD, VOCABULARY = 64, 4, 2, 128, 100
_LIKE_BERT: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": FEED_FORWARD,
    "vocab_size": VOCABULARY,
}
_LIKE_LLAMA = {**_LIKE_BERT, "num_key_value_heads": 2}
_SPECIAL_TOKENS = {
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
}
CONFIGS = {
    "bert": lambda: transformers.BertConfig(**_LIKE_BERT),
    "roberta": lambda: transformers.RobertaConfig(**_LIKE_BERT),
    "longformer": lambda: transformers.LongformerConfig(**_LIKE_BERT, attention_window=[32, 32]),
    "big_bird": lambda: transformers.BigBirdConfig(
        **_LIKE_BERT, block_size=16, num_random_blocks=1
    ),
    "modernbert": lambda: transformers.ModernBertConfig(**_LIKE_BERT, **_SPECIAL_TOKENS),
    "led": lambda: transformers.LEDConfig(
        vocab_size=VOCABULARY,
        d_model=HIDDEN,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=FEED_FORWARD,
        decoder_ffn_dim=FEED_FORWARD,
        attention_window=[32, 32],
    ),
    "t5": lambda: transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=HIDDEN,
        num_layers=LAYERS,
        num_heads=HEADS,
        d_ff=FEED_FORWARD,
        d_kv=16,
    ),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=HIDDEN,
        n_layer=LAYERS,
        n_head=HEADS,
        bos_token_id=0,
        eos_token_id=1,
    ),
    "llama": lambda: transformers.LlamaConfig(**_LIKE_LLAMA),
    "mistral": lambda: transformers.MistralConfig(**_LIKE_LLAMA, sliding_window=64),
    "gemma2": lambda: transformers.Gemma2Config(**_LIKE_LLAMA, head_dim=16),
    "gemma3": lambda: transformers.Gemma3TextConfig(**_LIKE_LLAMA, head_dim=16),
}


def _folder(name: str, tmp_path: Path) -> str:
    folder = tmp_path / name
    CONFIGS[name]().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", CONFIGS)
def test_models_of_many_kinds_are_counted(name: str, tmp_path: Path) -> None:
    table = attnprof.compare(
        kernel=_folder(name, tmp_path),
        len=96,
        no_time=True,
        device="cpu",
        no_isolation=name != "bert",  # one in a worker process is enough
    )
    for row in table.rows:
        assert row.status == "ok"
        assert row.integer("executed_macs") == row.integer("operator_macs")
        assert (row.integer("executed_macs") or 0) > 0
        assert (row.integer("peak_bytes") or 0) > 0


@pytest.mark.parametrize("name", ["bert", "modernbert", "t5", "gpt2", "llama", "mistral", "gemma3"])
def test_counts_on_fake_tensors_equal_those_of_a_real_run(name: str, tmp_path: Path) -> None:
    """At a length of several blocks of keys, where causal attention skips some."""
    config = CONFIGS[name]()
    for limit in ("max_position_embeddings", "n_positions"):
        if hasattr(config, limit):
            setattr(config, limit, 2048)
    config.save_pretrained(tmp_path / name)
    kernel = kernels.find(str(tmp_path / name))
    workload = Workload(AttentionPattern.dense(HEADS), 1040, hidden_size=HIDDEN)
    real = count_operators(kernel.build(workload).run).complete_macs
    assert kernel.executed_macs(workload) == real


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", CONFIGS)
def test_peaks_on_fake_tensors_are_the_allocators(name: str, mode: Any, tmp_path: Path) -> None:
    kernel = custom.find(_folder(name, tmp_path))
    pattern = AttentionPattern.dense(HEADS)
    workload = kernel.adapt_workload(Workload(pattern, 128, hidden_size=HIDDEN, mode=mode))
    measured = measure_peak_bytes(kernel.build(workload).run, "cpu")
    assert kernel.peak_bytes(workload) == pytest.approx(measured, rel=0.002)


def _bert_macs(n: int) -> int:
    layer = n * HIDDEN * (4 * HIDDEN + 2 * FEED_FORWARD) + 2 * n * n * HIDDEN
    return LAYERS * layer + HIDDEN**2  # and the pooler, of one token


def _llama_macs(n: int) -> int:
    """Causal, of one block of 512 keys: all pairs. Two of four heads for keys and values."""
    projections = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * (HIDDEN // 2)
    return LAYERS * (n * (projections + 3 * HIDDEN * FEED_FORWARD) + 2 * n * n * HIDDEN)


@pytest.mark.parametrize(("name", "macs"), [("bert", _bert_macs), ("llama", _llama_macs)])
def test_counts_equal_closed_forms(name: str, macs: Any, tmp_path: Path) -> None:
    table = estimate(kernel=_folder(name, tmp_path), len=[100, 256])
    assert [row.integer("executed_macs") for row in table.rows] == [macs(100), macs(256)]


def test_a_part_of_a_model_is_counted(tmp_path: Path) -> None:
    part = _folder("bert", tmp_path) + "/config.json::encoder.layer.0.attention"
    (row,) = estimate(kernel=part, len=128).rows
    assert row.integer("executed_macs") == 4 * 128 * HIDDEN**2 + 2 * 128**2 * HIDDEN


MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 64)

    def forward(self, hidden_states):
        projected = self.linear(hidden_states)
        return projected @ projected.transpose(1, 2)

instance = Net()

def factory():
    return Net()

def call(seq_len):
    return torch.matmul, {"input": torch.zeros(seq_len, 8), "other": torch.zeros(8, seq_len)}

class TwoInputs(nn.Module):
    def forward(self, hidden_states, sizes):
        return hidden_states @ sizes

class Nothing(nn.Module):
    def forward(self, x):
        return None

class OfHundreds(nn.Module):
    def forward(self, x):
        rows = x.view(x.shape[0], -1, 100, x.shape[-1])
        return rows @ rows.transpose(-1, -2)

number = 3
"""


@pytest.fixture
def module_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "custom_module.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "custom_module", raising=False)
    return tmp_path


def _estimate(kernel: str, **options: Any) -> Any:
    return estimate(kernel=kernel, hidden_size=64, num_heads=4, **options).rows


@pytest.mark.parametrize("name", ["Net", "instance", "factory"])
def test_custom_modules_are_counted(module_folder: Path, name: str) -> None:
    rows = _estimate(f"custom_module:{name}", len=[100, 200])
    counted = [row.integer("executed_macs") for row in rows]
    assert counted == [n * 64 * 64 + n * n * 64 for n in (100, 200)]


def test_a_factory_of_the_length_is_counted(module_folder: Path) -> None:
    rows = _estimate("custom_module:call", len=[100, 200])
    assert [row.integer("executed_macs") for row in rows] == [100 * 100 * 8, 200 * 200 * 8]


def test_described_inputs_are_used(module_folder: Path) -> None:
    (row,) = _estimate("custom_module:TwoInputs(sizes=hidden,hidden*2)", len=100)
    assert row.integer("executed_macs") == 100 * 64 * 128


def test_custom_kernels_have_no_scope(module_folder: Path) -> None:
    both = ["custom_module:Net", "bert-sdpa"]
    rows = estimate(
        kernel=both, scope="stack", len=100, hidden_size=64, num_heads=4, window=[8, 16]
    ).rows
    assert [(row.kernel, row.workload.scope) for row in rows] == [
        ("custom_module:Net", "attention"),
        ("bert-sdpa", "layer"),
    ]
    with pytest.raises(UsageError, match="a custom kernel is costed as it is") as raised:
        _estimate("custom_module:Net", len=100, scope="layer")
    assert raised.value.argument == "scope"


def test_one_length_fails_and_the_others_go_on(module_folder: Path) -> None:
    good, bad = _estimate("custom_module:OfHundreds", len=[200, 256])
    assert good.status == "ok"
    assert good.integer("executed_macs") == 2 * 100 * 100 * 64
    assert bad.status == "error"
    assert "is invalid for input of size" in " ".join(bad.details)


def test_returning_nothing_is_reported_in_its_row(module_folder: Path) -> None:
    (row,) = _estimate("custom_module:Nothing", len=64)
    assert row.status == "error"
    assert "returns no tensor" in " ".join(row.details)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("custom_module:TwoInputs", "", "--input sizes="),
        ("custom_module:number", "", "is int"),
        ("custom_module:Nett", "", "did you mean Net"),
        ("no_such_module:Net", "", "No module named"),
        ("plain.json", '{"a": 1}', "model_type"),
        ("unknown.json", '{"model_type": "lama"}', "did you mean llama"),
        ("truncated.json", '{"model_type":', "not valid JSON"),
        ("huge.json", " " * 11_000_000, "MiB"),
        ("missing.json", "", "no such file"),
    ],
)
def test_bad_targets_are_refused_in_one_line(
    module_folder: Path, name: str, text: str, words: str
) -> None:
    if text:
        (module_folder / name).write_text(text, encoding="utf-8")
    # A worker process says the same; it imports torch and transformers, which takes seconds.
    where = ["--no-isolation"] * (name != "custom_module:number")
    result = CliRunner().invoke(app, ["estimate", "--kernel", name, "--len", "64", *where])
    assert result.exit_code == 2
    message = " ".join(result.stderr.split())
    assert words in message
    assert "--kernel" in message


def test_a_file_that_is_not_there_is_refused_before_torch_is_loaded() -> None:
    code = (
        "from typer.testing import CliRunner; from attnprof.cli import app\n"
        "result = CliRunner().invoke(app, ['estimate', '--kernel', 'missing.json'])\n"
        "assert result.exit_code == 2, result"
    )
    assert not {"torch", "transformers"} & loaded_by(code)


def test_an_unknown_part_suggests_a_similar_name(tmp_path: Path) -> None:
    name = _folder("bert", tmp_path) + "::encoder.layer.0.atention"
    with pytest.raises(UsageError, match="did you mean attention"):
        estimate(kernel=name, len=64)


def test_code_of_a_config_is_never_run(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    ran = tmp_path / "ran"
    (folder / "modeling_own.py").write_text(f"open({str(ran)!r}, 'w').close()", encoding="utf-8")
    config = {"model_type": "own", "auto_map": {"AutoModel": "modeling_own.Own"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UsageError):
        estimate(kernel=str(folder), len=64)
    assert not ran.exists()


def test_built_in_kernels_are_still_estimated_without_torch() -> None:
    code = "import sys, attnprof; attnprof.estimate(len=512); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
