"""`attnprof pattern` as a user runs it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from command_line import attnprof
from loaded_modules import loaded_by
from typer.testing import CliRunner, Result

from attnprof.cli import app


def pattern(*words: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(app, ["pattern", *words])


def test_without_options_the_four_patterns_of_the_paper_are_drawn() -> None:
    done = pattern()
    assert (done.exit_code, done.stderr) == (0, "")
    for name in ("full attention", "window 8", "window 8, dilation 2", "window 8, 1 global token"):
        assert name in done.stdout
    # 32 + 2 * (31 + 30 + 29 + 28) pairs, of 32 * 32
    assert "268" in done.stdout
    assert "26.2 %" in done.stdout
    assert "\x1b" not in done.stdout


def test_kernels_are_drawn_with_computed_and_useful_pairs() -> None:
    done = pattern("--kernel", "longformer-banded", "bert-sdpa", "--global-tokens", "0")
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    useful = 512 * 129 - 64 * 65
    assert lines["longformer-banded"][2] == f"{useful:,}"
    assert lines["bert-sdpa"][1:4] == ["262,144", "262,144", "1.00x"]
    assert "░ computed, then masked" in done.stdout


def test_a_model_brings_its_windows_and_dilations() -> None:
    done = pattern("--model", "longformer-char-lm", "--len", "256")
    assert "layers 11-12, heads 7-8" in done.stdout
    assert "window 512, dilation 4" in done.stdout


def test_long_headings_keep_what_tells_the_panels_apart() -> None:
    options = ("--len", "16", "--window", "4:8", "--dilation", "1x10:4x2")
    done = pattern(*options, COLUMNS="80")
    picture, _ = done.stdout.split("pairs", 1)
    for layer in (1, 2):
        assert f"layer {layer}, heads 11-12" in picture
    assert picture.count("heads 1-10") == 2
    assert "…" not in done.stdout


def test_files_by_suffix_and_stdout(tmp_path: Path) -> None:
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<svg"), ("a.pdf", b"%PDF")):
        path = tmp_path / name
        done = pattern("--png", str(path))
        assert done.exit_code == 0
        assert done.stderr == f"written: {path}\n"
        assert path.read_bytes().startswith(start)
    done = pattern("--svg", "-", "--kernel", "longformer-flex")
    assert ElementTree.fromstring(done.stdout).get("width") == "444"


def test_a_million_tokens_take_no_quadratic_memory() -> None:
    done = pattern("--len", "1M", "--window", "512", "--kernel", "longformer-hf")
    assert done.exit_code == 0
    assert "1 character = 32,768 queries x 16,384 keys" in done.stdout


def test_an_ascii_terminal_gets_other_characters() -> None:
    done = attnprof("pattern", LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert done.returncode == 0
    assert "?" not in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--len", "64", "128"), "--len 64 128: must be one length"),
        (("--len", "8M"), "--len 8388608: must be at most 1,048,576 tokens"),
        (("--png", "a.jpg"), "--png a.jpg: must end in .png, .svg or .pdf"),
        (("--kernel", "pkg.mod:Net"), "--kernel pkg.mod:Net: must be a built-in kernel"),
        (("--kernel", "longformer-bandd"), "did you mean longformer-banded?"),
        (("--window", "7"), "--window 7: must be an even number of keys"),
        (("--global-tokens", "@99"), "--global-tokens @99: position 99 is outside"),
        (("--dilation", "1:2"), "--dilation 1:2:"),
        (
            ("--num-heads", "96", "--dilation", ":".join(map(str, range(1, 97)))),
            "gives 96 panels; must give at most 60",
        ),
    ],
)
def test_errors_are_one_line_that_names_the_option(words: tuple[str, ...], message: str) -> None:
    done = pattern(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert message in line


def test_neither_torch_nor_matplotlib_is_loaded() -> None:
    code = (
        "from typer.testing import CliRunner; from attnprof.cli import app\n"
        "words = ['pattern', '--kernel', 'longformer-flex', 'longformer-banded', '--svg', '-']\n"
        "result = CliRunner().invoke(app, words); assert result.exit_code == 0, result"
    )
    assert loaded_by(code) <= {"numpy"}
