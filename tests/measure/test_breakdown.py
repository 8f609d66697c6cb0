"""MACs by module and operator, compared with closed forms of each part."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import transformers
from typer.testing import CliRunner

from attnprof.analysis.breakdown_table import Breakdown, Part, own_parts
from attnprof.cli import app
from attnprof.cli.breakdown import prepare_breakdown
from attnprof.report.breakdown import render_breakdown

HIDDEN = 64


def _bert(tmp_path: Path) -> str:
    transformers.BertConfig(
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        vocab_size=100,
    ).save_pretrained(tmp_path / "bert")
    return str(tmp_path / "bert")


def test_tree_and_operators_add_up(tmp_path: Path) -> None:
    kernel = _bert(tmp_path)
    with prepare_breakdown({"kernel": kernel, "len": [128, 256], "no_isolation": True}) as request:
        parts = request.run().parts
    macs = {(part.by, part.part, part.seq_len): part.macs for part in parts}
    for n in (128, 256):
        attention = 2 * n * n * HIDDEN + 3 * n * HIDDEN**2
        feed_forward = n * HIDDEN * 128
        layer = attention + n * HIDDEN**2 + 2 * feed_forward
        assert macs["module", "encoder.layer.0.attention.self", n] == attention
        assert macs["module", "encoder.layer.1.intermediate.dense", n] == feed_forward
        assert macs["module", "encoder.layer.0", n] == layer
        assert macs["module", "", n] == 2 * layer + HIDDEN**2
        operators = sum(
            part.macs or 0 for part in parts if (part.by, part.seq_len) == ("operator", n)
        )
        assert operators == macs["module", "", n]
    fused = next(part for part in parts if "flash" in part.part and part.seq_len == 256)
    assert fused.growth == 2.0
    assert fused.share == 2 * 2 * 256**2 * HIDDEN / (macs["module", "", 256] or 0)


def test_a_whole_layer_is_broken_down_into_its_parts() -> None:
    n, width = 256, 768
    parts = prepare_breakdown({"kernel": "bert-sdpa", "len": n, "scope": "layer"}).run().parts
    macs = {part.part: part.macs for part in parts if part.by == "module"}
    projection = n * width**2
    assert macs["attention"] == 3 * projection + 2 * n * n * width
    assert macs["attention_output.dense"] == macs["attention.query"] == projection
    assert macs["intermediate.dense"] == macs["output.dense"] == 4 * projection
    assert macs[""] == 12 * projection + 2 * n * n * width


def test_command_prints_a_tree_and_writes_files(tmp_path: Path) -> None:
    kernel = _bert(tmp_path)
    csv, as_json = tmp_path / "parts.csv", tmp_path / "parts.json"
    words = ["breakdown", "--kernel", kernel, "bert-sdpa", "--len", "64", "128"]
    result = CliRunner().invoke(app, [*words, "--csv", str(csv), "--json", str(as_json)])
    assert result.exit_code == 0
    assert "intermediate" in result.stdout
    assert "n^2.00" in result.stdout
    frame = pd.read_csv(io.StringIO(csv.read_text()))
    assert len(frame) == len(json.loads(as_json.read_text())["parts"])
    roots = frame[(frame["by"] == "module") & frame["part"].isna()]
    assert list(roots["share"]) == [1.0] * 4


def test_a_case_that_cannot_be_counted_is_reported_and_the_others_continue() -> None:
    result = CliRunner().invoke(
        app,
        ["breakdown", "--kernel", "longformer-hf", "bert-sdpa", "--len", "64", "--dilation", "2"],
    )
    assert result.exit_code == 3
    assert "longformer-hf at 64: transformers' module has no dilation" in result.stderr
    assert "bert-sdpa" in result.stdout


def test_the_lines_below_a_module_add_up_to_it() -> None:
    with prepare_breakdown(
        {
            "kernel": ["bert-sdpa", "longformer-hf"],
            "len": [64, 128],
            "scope": "layer",
            "window": 32,
            "global_tokens": 1,
        }
    ) as request:
        parts = [part for part in request.run().parts if part.by == "module"]
    own = own_parts(parts)
    assert {path for *_, path in own} == {"attention"}
    for part in parts:
        below = [
            child.macs or 0
            for child in parts
            if (child.kernel, child.seq_len) == (part.kernel, part.seq_len)
            and child.part
            and child.part.rpartition(".")[0] == part.part
        ]
        itself = own.get((part.kernel, part.seq_len, part.part))
        if below:
            assert sum(below) + (itself.macs or 0 if itself else 0) == part.macs
    fused = own["bert-sdpa", 128, "attention"]
    assert (fused.macs, fused.growth) == (2 * 128**2 * 768, 2.0)


def test_the_tree_shows_what_a_module_computes_itself() -> None:
    def part(path: str, macs: int | None, calls: int = 1) -> Part:
        return Part("net:Net", 8, "module", path, calls, macs, None if macs is None else macs / 100)

    shown = [
        part("", 100, 9),
        part("attention", 70, 6),
        part("attention.query", 40),
        part("attention.norm", 0, 2),
        part("head", 25),
    ]
    lines = render_breakdown(Breakdown(shown, []), 80).plain.splitlines()
    assert [" ".join(line.split()) for line in lines[2:]] == [
        "all 9 100 100.0 % –",
        "attention 6 70 70.0 % –",
        "query 1 40 40.0 % –",
        "(attention itself) 3 30 30.0 % –",
        "head 1 25 25.0 % –",
        "(itself) 2 5 5.0 % –",
    ]
    indents = [len(line) - len(line.lstrip()) for line in lines[2:]]
    assert indents == [2, 4, 6, 6, 4, 4]


def test_an_uncounted_operator_of_a_module_is_its_own() -> None:
    def part(path: str, macs: int | None) -> Part:
        return Part("net:Net", 8, "module", path, 3, macs, None)

    own = own_parts([part("", None), part("a", None), part("a.b", 5)])
    assert {path: itself.macs for (*_, path), itself in own.items()} == {"a": None}


def test_a_breakdown_for_cuda_needs_no_gpu() -> None:
    options = {"kernel": ["bert-sdpa"], "len": [128], "dtype": "bfloat16", "device": "cuda"}
    with prepare_breakdown(options) as request:  # type: ignore[arg-type]
        result = request.run()
    assert not result.failures
    operators = {part.part for part in result.parts if part.by == "operator"}
    assert "aten._scaled_dot_product_flash_attention" in operators
