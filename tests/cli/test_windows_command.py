"""`attnprof windows`: outputs and messages, with numbers from the definitions of the masks."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result
from window_models import HEADS, MODELS, W, causal, sliding
from windowed import WIDTH

from attnprof.cli import app

N = 45


def windows(*words: str, **environment: str) -> Result:
    runner = CliRunner(env={"COLUMNS": "80", **environment})
    return runner.invoke(app, ["windows", "--no-isolation", *words])


def config(folder: Path, name: str, **values: object) -> str:
    (folder / "config.json").write_text(json.dumps({**MODELS[name].config, **values}))
    return str(folder / "config.json")


def own(name: str) -> tuple[str, ...]:
    return ("--kernel", f"windowed:{name}", "--input", f"x=batch,len,{WIDTH}")


def test_all_outputs_have_the_pairs_of_both_runs(tmp_path: Path) -> None:
    kernel = config(tmp_path, "gemma3")
    csv, as_json, markdown = (tmp_path / f"x.{suffix}" for suffix in ("csv", "json", "md"))
    outputs = ("--csv", str(csv), "--json", str(as_json), "--markdown", str(markdown))
    done = windows("--kernel", kernel, "--len", str(N), *outputs)
    assert done.exit_code == 0, done.stderr
    frame = pd.read_csv(io.StringIO(csv.read_text()))
    masks = [sliding, sliding, causal, sliding]
    needed = [HEADS * int(mask(N).sum()) for mask in masks]
    for run, implementation in (
        ("as configured", "scaled_dot_product_attention"),
        ("flex_attention", "flex_attention"),
    ):
        rows = frame[frame["run"] == run]
        assert list(rows["layer"]) == [f"layers.{index}.self_attn" for index in range(4)]
        assert list(rows["attended_pairs"]) == needed
        assert list(rows["mask"]) == ["window", "window", "causal", "window"]
        assert set(rows["implementation"]) == {implementation}
        assert (rows["useful_macs"] == rows["attended_pairs"] * 16).all()  # head_dim 8, twice
    masked = frame[(frame["run"] == "as configured") & (frame["mask"] == "window")]
    assert set(masked["executed_pairs"]) == {HEADS * N * N}
    document = json.loads(as_json.read_text())
    assert [layer["ratio"] for layer in document["layers"]] == pytest.approx(list(frame["ratio"]))
    assert document["failures"] == []
    ratio = f"{N * N / int(sliding(N).sum()):.2f}x"
    sentence = (
        f"3 of 4 layers mask a dense product: at {N} tokens {ratio} the attention that their "
        f"windows need; under `flex_attention` "
    )
    assert sentence in " ".join(done.stdout.split())
    assert f"- {sentence}" in markdown.read_text()
    assert done.stderr.count("written: ") == 3


def test_the_first_screen_has_groups_of_layers_and_details_have_each(tmp_path: Path) -> None:
    kernel = config(tmp_path, "gemma3", num_hidden_layers=8)
    lines = windows("--kernel", kernel, "--len", str(N)).stdout.splitlines()
    assert len(lines) <= 32
    assert max(len(line) for line in lines[:4]) <= 80
    assert any(line.startswith(f"0-1, 3-4, 6-7  sliding_window {W}") for line in lines)
    assert any(line.startswith("2, 5 ") for line in lines)
    details = windows("--kernel", kernel, "--len", str(N), "--details").stdout.splitlines()
    single = [line.split()[0] for line in details if line[:1].isdigit()]
    assert single == [str(index) for index in range(8)]


def test_a_window_that_is_longer_than_the_sequence_hides_nothing(tmp_path: Path) -> None:
    done = windows("--kernel", config(tmp_path, "mistral"), "--len", str(W))
    shown = " ".join(done.stdout.split())
    assert f"All 2 layers declare a window (sliding_window {W}) that hides nothing" in shown
    assert f"sliding_window {W}, hides nothing" in shown


def test_a_window_that_is_not_applied_is_named() -> None:
    shown = " ".join(windows(*own("Ignored"), "--len", "40").stdout.split())
    assert (
        "The only layer declares a window (window_size 16) that is not applied: at 40 tokens "
        "its mask lets all pairs of full attention through." in shown
    )


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_window_of_an_own_layer_is_found_in_its_mask(mode: str) -> None:
    done = windows(*own("Windowed"), "--len", "40", "--mode", mode, "--csv", "-")
    (row,) = pd.read_csv(io.StringIO(done.stdout)).to_dict("records")
    assert (row["declared"], row["declared_size"], row["mask"]) == ("window_size", 16, "window")
    assert (row["attended_pairs"], row["executed_pairs"]) == (2 * 520, 2 * 1600)


def test_a_mask_that_depends_on_data_is_said_to_be_unknown() -> None:
    done = windows(*own("FromData"), "--len", "40")
    assert done.exit_code == 0
    shown = " ".join(done.stdout.split())
    assert "The only layer has a mask that is not known: " in shown
    assert "depends on data" in shown


def test_a_part_of_a_model_and_a_length_that_it_does_not_take(tmp_path: Path) -> None:
    part = f"{config(tmp_path, 'gpt_neo')}::h.1.attn.attention"
    done = windows("--kernel", part, "--len", str(N), "4k", "--csv", str(tmp_path / "x.csv"))
    assert done.exit_code == 3
    assert "at 4,096: the config has positions for 64 tokens only" in done.stderr
    (row,) = pd.read_csv(tmp_path / "x.csv").to_dict("records")
    assert (row["seq_len"], row["declared"]) == (N, "window_size")
    assert row["attended_pairs"] == HEADS * int(sliding(N).sum())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "mistral7b"), "--model mistral7b: unknown; did you mean mistral-7b?"),
        (("--model", "bert-large"), "--model bert-large: unknown; did you mean bert-base?"),
        (("--kernel", "modernbert"), "--kernel modernbert: unknown; did you mean modernbert-base?"),
        (("--kernel", "bert-sdpa"), "--kernel bert-sdpa: is built in: attnprof pattern draws"),
        (("--window", "8"), "--window: unknown option"),
        (("--device", "gpu"), "--device gpu: unknown"),
        (("--csv", "no/x.csv"), "--csv no/x.csv: folder no does not exist"),
    ],
)
def test_a_usage_error_is_one_line_with_exit_code_2(words: tuple[str, ...], message: str) -> None:
    done = windows(*words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_models_of_other_commands_are_no_setting_here(tmp_path: Path) -> None:
    settings = {"ATTNPROF_MODEL": "longformer-char-lm", "ATTNPROF_KERNEL": "bert-sdpa"}
    done = windows(*own("Windowed"), "--len", "40", **settings)
    assert done.exit_code == 0
    assert "bert-sdpa" not in done.stdout
