"""The command line in a shell: signals, pipes, streams, and the help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ATTNPROF, FEW, QUICK, attnprof, lengths_of, rows_of
from timeouts import PATIENCE_SECONDS

from attnprof.kernels import names

INTERRUPTED = """
import os, signal, sys, time
from attnprof.cli import app
from attnprof.measure import runner

signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore SIGINT
measure = runner.measure

def interrupted(*arguments):
    for record in measure(*arguments):
        yield record
        if record.quantity == "case":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)

runner.measure = interrupted
app(sys.argv[1:], prog_name="attnprof")
"""


def test_an_interrupt_keeps_finished_results(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    words = ["compare", *QUICK, "--len", "64", "128", "--csv", str(path), *FEW[:2]]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 130
    assert done.stderr.splitlines() == [
        "attnprof: interrupted; finished results are kept",
        f"written: {path}",
    ]
    assert "64 tokens" in done.stdout
    (row,) = rows_of(path)
    assert (row["seq_len"], row["status"]) == ("64", "ok")
    assert row["time_ns"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_an_interrupt_before_the_first_case_says_so_once() -> None:
    words = ["compare", *QUICK, "--len", "64", *FEW[:2]]
    early = INTERRUPTED.replace("yield record", "pass").replace('record.quantity == "case"', "True")
    done = subprocess.run(
        [sys.executable, "-c", early, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "attnprof: interrupted; no case was finished\n"


def test_ascii_full_or_closed_streams_give_no_traceback() -> None:
    words = ["estimate", "--len", "64", "--window", "16"]
    done = attnprof(*words, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    with Path("/dev/full").open("w") as full:
        failed = subprocess.run(
            [ATTNPROF, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert failed.returncode == 3
    assert failed.stderr == "attnprof: could not write: No space left on device\n"
    long = f"{ATTNPROF} estimate --len 64:6400:+64 --window 16 | head -1"
    piped = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {long}"], capture_output=True, text=True, check=False
    )
    assert (piped.returncode, piped.stderr) == (0, "")


@pytest.mark.parametrize("variable", ["GITHUB_ACTIONS", "FORCE_COLOR"])
def test_a_pipe_has_no_colour_in_ci_either(variable: str) -> None:
    for words in (("--help",), ("estimate", "--len", "64", "--window", "16")):
        assert "\x1b" not in attnprof(*words, **{variable: "1"}).stdout


def test_kernels_lists_which_can_be_built_and_why_others_cannot() -> None:
    done = attnprof("kernels", "--dilation", "4")
    assert done.returncode == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert set(lines) == {"kernel", *names()}
    assert lines["bert-sdpa"].rstrip().endswith("yes")
    assert "no dilation" in lines["longformer-hf"]


def test_help_of_every_command_and_version() -> None:
    for command in ("estimate", "compare", "kernels"):
        text = attnprof(command, "--help").stdout
        assert "--len" in text
        assert "--global-tokens" in text
    assert attnprof("--version").stdout.startswith("attnprof 0.")
    assert "estimate" in attnprof().stdout


def test_python_m_attnprof_is_the_entry_point() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "attnprof", "estimate", "--len", "64", "--csv", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert lengths_of(done.stdout) == [64] * 4


def test_a_large_grid_is_written_to_its_file_only(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    done = attnprof("estimate", "--len", "512:51200:+512", "--window", "64,512", "--csv", str(path))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"600 rows written to {path}\n"
    assert len(lengths_of(path.read_text())) == 600
