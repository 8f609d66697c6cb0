"""Options, error messages and output files of the command line."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest
import torch
from command_line import ATTNPROF, FEW, QUICK, SMALL, attnprof, lengths_of, messages_of, rows_of
from timeouts import PATIENCE_SECONDS
from typer.testing import CliRunner

from attnprof.cli import app

LENGTHS = [
    (("--len", "512", "1024", "4096"), [512, 1024, 4096]),
    (("--len", "512,1024"), [512, 1024]),
    (("--len=512,1024",), [512, 1024]),
    (("--len=512", "1024"), [512, 1024]),
    (("--len", "4k"), [4096]),
    (("--len", "1M"), [1048576]),
    (("--len", "512:8192:x2"), [512, 1024, 2048, 4096, 8192]),
    (("--len", "512", "--batch-size", "2", "--len", "1024", "64"), [64, 512, 1024]),
    (("--len", "1024", "512", "1024"), [512, 1024]),
]


@pytest.mark.parametrize(("words", "lengths"), LENGTHS)
def test_lengths_are_read_in_every_spelling(words: tuple[str, ...], lengths: list[int]) -> None:
    result = CliRunner().invoke(app, ["estimate", *words, "--kernel", "bert-sdpa", "--csv", "-"])
    assert result.exit_code == 0
    assert lengths_of(result.stdout) == lengths


def test_a_shell_passes_the_same_words() -> None:
    words, lengths = LENGTHS[7]
    done = attnprof("estimate", *words, "--kernel", "bert-sdpa", "--csv", "-")
    assert (done.returncode, done.stderr) == (0, "")
    assert lengths_of(done.stdout) == lengths


BAD_INPUT = [
    ("--len 0", "--len 0"),
    ("--len -5", "--len -5"),
    ("--len abc", "--len abc"),
    ("--len 1.5", "--len 1.5"),
    ("--len", "--len"),
    ("--len --window 4", "--len"),
    ("--len 8192:512:x2", "512:8192:x2"),
    ("--window 511", "--window 511"),
    ("--window 0", "--window 0"),
    ("--window -2", "--window -2"),
    ("--dilation 0", "--dilation 0"),
    ("--dilation 1x5:4x2", "has strides for 7 heads; the layer has 12"),
    ("--len 512 --global-tokens 600", "--global-tokens 600"),
    ("--global-tokens @9000", "--global-tokens @9000"),
    ("--num-heads 7", "--num-heads 7"),
    ("--num-heads 0", "--num-heads 0"),
    ("--kernel bert-sdp", "did you mean bert-sdpa"),
    ("--model bert-bse", "did you mean bert-base"),
    ("--dtype float3", "--dtype float3: unknown; did you mean float32"),
    ("--mode trainin", "--mode trainin: unknown; did you mean training"),
    ("--scope laye", "--scope laye: unknown; did you mean layer"),
    ("--windw 5", "--window"),
    ("--csv /nowhere/at/all.csv", "--csv /nowhere/at/all.csv"),
    ("--png /nowhere/at/all.png", "--png /nowhere/at/all.png"),
    ("--csv /proc/x.csv", "--csv /proc/x.csv"),
    ("--csv - --json -", "--json -"),
    ("--csv --len 64", "--csv"),
    ("--csv=", "--csv"),
    ("--len 512,,1024", "--len 512,,1024"),
    ("--hidden-size 770", "--hidden-size 770"),
    ("--batch-size 0", "--batch-size 0"),
    ("--batch-size two", "--batch-size"),
    ("--hidden-size 0", "--hidden-size 0"),
    ("--max-seconds 0", "--max-seconds 0"),
    ("--device gpu", "--device gpu"),
    ("stray", "stray"),
]


@pytest.mark.parametrize(("words", "named"), BAD_INPUT, ids=[words for words, _ in BAD_INPUT])
def test_bad_input_is_one_line_that_names_the_option(words: str, named: str) -> None:
    done = CliRunner().invoke(app, ["compare", *words.split()])
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("attnprof: ")
    assert named in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda_is_refused() -> None:
    done = CliRunner().invoke(app, ["compare", "--device", "cuda"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--device cuda: torch finds no CUDA device; use cpu or auto" in done.stderr


def test_an_unknown_command_suggests_a_similar_one() -> None:
    done = attnprof("compar")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "compare" in done.stderr


def test_compare_writes_every_format(tmp_path: Path) -> None:
    paths = {form: str(tmp_path / f"out.{form}") for form in ("csv", "json", "markdown", "png")}
    options = [word for form, path in paths.items() for word in (f"--{form}", path)]
    words = (*QUICK, "--len", "64", "128", "--details", *options)
    done = attnprof("compare", *words, COLUMNS="40")
    assert done.returncode == 0, done.stderr
    rows = rows_of(Path(paths["csv"]))
    document = json.loads(Path(paths["json"]).read_text())
    assert [row["kernel"] for row in rows] == [row["kernel"] for row in document["rows"]]
    assert {row["status"] for row in rows} == {"ok"}
    assert document["environment"]["packages"]["ptflops"]
    assert "Crossover lengths" in Path(paths["markdown"]).read_text()
    assert Path(paths["png"]).read_bytes().startswith(b"\x89PNG")
    for row in rows:
        assert row["operator_macs"] == row["executed_macs"]
    assert "ptflops coverage" in done.stdout
    assert messages_of(done.stderr) == [f"written: {path}" for path in paths.values()]
    # A pipe gets every column uncut and without colour.
    assert "…" not in done.stdout
    assert "\x1b" not in done.stdout
    for heading in ("useful", "executed", "aten cov.", "operator", "predicted", "memory"):
        assert heading in done.stdout


@pytest.mark.parametrize(
    ("command", "form"),
    # Counters may print to stdout in a comparison only, whatever the format.
    [("compare", "json"), *(("estimate", form) for form in ("csv", "markdown", "png"))],
)
def test_dash_writes_to_stdout_and_nothing_else_does(command: str, form: str) -> None:
    words = (*QUICK, *FEW) if command == "compare" else SMALL
    done = subprocess.run(
        [ATTNPROF, command, *words, "--len", "64", f"--{form}", "-"],
        capture_output=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    assert messages_of(done.stderr.decode()) == []
    if form == "csv":
        assert lengths_of(done.stdout.decode()) == [64] * 4
    elif form == "json":
        assert len(json.loads(done.stdout)["rows"]) == 2
    elif form == "markdown":
        assert done.stdout.startswith(b"**Self-attention (")
    else:
        assert done.stdout.startswith(b"\x89PNG")
        assert done.stdout.endswith(b"IEND\xaeB`\x82")


def test_compare_answers_on_one_screen_and_hints_are_for_terminals_only() -> None:
    done = attnprof("compare", *QUICK, *FEW, "--len", "64")
    assert done.returncode == 0
    assert "at 64 tokens" in done.stdout
    assert "--details" not in done.stdout
    assert len(done.stdout.splitlines()) <= 30


def on_terminal(*words: str, **environment: str) -> str:
    """What a command writes when stdout and stderr are a terminal."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        [ATTNPROF, *words],
        stdin=side,
        stdout=side,
        stderr=side,
        env={**os.environ, "TERM": "xterm-256color", **environment},
    )
    os.close(side)
    written = b""
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:  # on Linux, the other end is closed
            break
        if not part:
            break
        written += part
    os.close(main)
    assert process.wait(timeout=PATIENCE_SECONDS) == 0
    return written.decode()


def test_a_terminal_gets_progress_and_bold_and_no_color_is_respected() -> None:
    words = ("compare", *QUICK, *FEW, "--len", "64")
    coloured = on_terminal(*words, COLUMNS="100")
    # The activity shown depends on when the screen is redrawn.
    assert re.search(r" at 64: (checking|counting|measuring|warming|round)", coloured)
    assert "\x1b[1m" in coloured
    assert "more: --details" in coloured
    plain = on_terminal("estimate", "--len", "64", "--window", "16", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", plain)


def test_failed_measurements_exit_with_three(monkeypatch: pytest.MonkeyPatch) -> None:
    from attnprof import kernels

    def fails(workload: object) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr(kernels.find("bert-eager"), "build", fails)
    words = ["compare", *QUICK, "--kernel", "bert-eager", "--len", "64", "--csv", "-"]
    words.append("--no-isolation")
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3
    assert "RuntimeError: it broke" in result.stdout


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("estimate", *SMALL, "--len", "64", "--csv"), "64 tokens"),
        (("breakdown", *SMALL[:4], "--len", "64", "--kernel", "bert-sdpa", "--csv"), "aten.addmm"),
        (
            ("audit", *SMALL[:6], "--len", "64", "--kernel", "bert-sdpa", "--no-peers", "--csv"),
            "bert-sdpa, 64 tokens",
        ),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else "",
)
def test_a_full_disk_is_one_line_and_exit_three_and_results_are_shown(
    words: tuple[str, ...], shown: str
) -> None:
    result = CliRunner().invoke(app, [*words, "/dev/full"])
    assert result.exit_code == 3
    (line,) = result.stderr.splitlines()
    assert line.startswith("attnprof: --csv /dev/full: could not be written")
    assert shown in result.stdout
