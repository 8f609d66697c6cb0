"""Faults of user code, streams and values: one line or one row, and no result is lost."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from attnprof.cli import app
from attnprof.core.errors import FailedError, Interrupted, UsageError, code_under_test, suggest
from attnprof.core.lengths import parse_lengths
from attnprof.core.option_values import MAX_NUMBER
from attnprof.report import streams

ATTNPROF = str(Path(sys.executable).parent / "attnprof")
SMALL = ("--hidden-size", "64", "--num-heads", "4", "--len", "64")
LEAVING = """
import os, sys
from torch import nn

class Leaves(nn.Module):
    def forward(self, x):
        sys.exit(0)

class Breaks(nn.Module):
    def forward(self, x):
        raise BaseException("odd")

class Interrupts(nn.Module):
    def forward(self, x):
        raise KeyboardInterrupt

class Dies(nn.Module):
    def forward(self, x):
        os._exit(9)

def parses():
    import argparse
    argparse.ArgumentParser().parse_args(["--unknown"])

def prints():
    print("printed")
    os.write(1, b"written to the descriptor\\n")
    os.system("echo of another process")
    return Loud()

class Loud(nn.Linear):
    def __init__(self):
        super().__init__(64, 64)

    def forward(self, x):
        print("printed in forward")
        return super().forward(x)
"""
GOOD = "longformer-banded"
"""Without transformers, whose import takes seconds."""

ROWS = {
    "leaving:Leaves": "SystemExit: 0",
    "leaving:Breaks": "BaseException: odd",
    "leaving:Interrupts": "KeyboardInterrupt",
    "leaving:parses": "SystemExit: 2",
}
ISOLATED = {"leaving:Dies": "exit code 9", "dead:Net": "exit code 9 when it was imported"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "leaving.py").write_text(LEAVING)
    (tmp_path / "dead.py").write_text("import os; os._exit(9)")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("leaving", None)


@pytest.mark.parametrize("command", ["estimate", "audit", "breakdown"])
@pytest.mark.usefixtures("folder")
def test_code_that_exits_is_reported_and_the_other_kernels_are_counted(command: str) -> None:
    rows = ROWS | ISOLATED
    words = [command, "--kernel", *rows, GOOD, *SMALL, "--csv", "-"]
    result = CliRunner().invoke(app, [*words, *["--no-peers"] * (command == "audit")])
    assert result.exit_code == 3, result.output
    assert f"{GOOD},64," in result.stdout
    for kernel, message in rows.items():
        lines = [line for line in result.output.splitlines() if line.startswith(kernel)]
        assert any(message in line for line in lines), (kernel, result.output)


@pytest.mark.parametrize("command", ["estimate", "breakdown"])
@pytest.mark.usefixtures("folder")
def test_code_that_exits_is_reported_without_isolation_too(command: str) -> None:
    words = [command, "--kernel", *ROWS, GOOD, *SMALL, "--csv", "-", "--no-isolation"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3, result.output
    assert f"{GOOD},64," in result.stdout
    for kernel, message in ROWS.items():
        lines = [line for line in result.output.splitlines() if line.startswith(kernel)]
        assert any(message in line for line in lines), (kernel, result.output)


def test_a_signal_is_not_a_failure_of_the_code_under_test() -> None:
    with pytest.raises(Interrupted), code_under_test():
        raise Interrupted
    with pytest.raises(FailedError, match="SystemExit: 3"), code_under_test():
        raise SystemExit(3)
    # Without a command, Python's own handler raises the plain exception for Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job ignores it
    try:
        with pytest.raises(KeyboardInterrupt), code_under_test():
            raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("where", [(), ("--no-isolation",)])
def test_output_of_user_code_goes_to_stderr_only(folder: Path, where: tuple[str, ...]) -> None:
    words = ["estimate", "--kernel", "leaving:prints", *SMALL, "--csv", "-", *where]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert [line.partition(",")[0] for line in done.stdout.splitlines()] == [
        "kernel",
        "leaving:prints",
    ]
    for message in ("printed", "written to the descriptor", "of another process", "in forward"):
        assert message in done.stderr


def run(*words: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = f'exec "$0" "$@" {shell}'
    return subprocess.run(
        ["bash", "-c", command, ATTNPROF, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


QUICK = ("estimate", "--len", "64", "--window", "16")
NO_ROOM = "attnprof: could not write: No space left on device\n"
STREAMS = [
    (QUICK, ">&-", 0, ""),
    (QUICK, "<&- >&- 2>&-", 0, ""),
    (QUICK, ">/dev/full", 3, NO_ROOM),
    (("--help",), ">/dev/full", 3, NO_ROOM),
    ((*QUICK, "--csv", "-"), ">/dev/full", 3, NO_ROOM),
    ((*QUICK, "--csv", "-"), ">&-", 2, "attnprof: --csv -: stdout is closed; name a file\n"),
    ((*QUICK, "--no-such"), "2>/dev/full", 2, ""),
    ((*QUICK, "--no-such"), "2>&-", 2, ""),
]


@pytest.mark.parametrize(("words", "shell", "code", "message"), STREAMS)
def test_streams_that_are_closed_or_full(
    words: tuple[str, ...], shell: str, code: int, message: str
) -> None:
    done = run(*words, shell=shell)
    assert (done.returncode, done.stderr, done.stdout) == (code, message, "")


@pytest.mark.parametrize("shell", [">&- 2>&-", ">/dev/null 2>/dev/full", ">/dev/full 2>/dev/full"])
def test_files_are_complete_whatever_the_streams_are(tmp_path: Path, shell: str) -> None:
    path = tmp_path / "out.csv"
    done = run(*QUICK, "--csv", str(path), shell=shell)
    assert done.returncode == (3 if ">/dev/full 2" in shell else 0)
    assert len(path.read_text().splitlines()) == 5


def test_characters_that_an_encoding_lacks_are_transliterated() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors="attnprof.replaced")
    CliRunner().invoke(app, ["--version"])  # registers the handler
    stream.write("a² − b³ × 3 µs → é ✅ 字")
    stream.flush()
    assert stream.buffer.getvalue() == b"a^2 - b^3 x 3 us -> e ok ?"  # type: ignore[attr-defined]


def test_every_character_of_the_package_has_a_transliteration() -> None:
    package = Path(streams.__file__).parent
    characters = {c for file in package.rglob("*.py") for c in file.read_text() if not c.isascii()}
    assert {c for c in characters if streams._to_ascii(c) == "?"} <= {"\ufffd"}


def test_an_ascii_terminal_gets_no_question_marks() -> None:
    done = run("estimate", "--details", LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "grows quadratically (n^2)" in done.stdout
    assert "?" not in done.stdout


def test_a_read_only_home_gives_no_warnings(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), "/proc")
    done = run(*QUICK, "--png", str(path), **nowhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_bytes().startswith(b"\x89PNG")


LONG = "9" * 5000
BAD = [
    (("--lenght", "512"), "--lenght: unknown option; did you mean --len?"),
    (("-len", "512"), "-len: unknown option; did you mean --len?"),
    (("--global", "2"), "--global: unknown option; did you mean --global-tokens?"),
    (("512", "1024"), "512 1024: name the option: --len 512 1024"),
    (("bert-sdpa",), "bert-sdpa: name the option: --kernel bert-sdpa"),
    (("--len", LONG), f"must be at most {MAX_NUMBER:,}"),
    (("--len", "9" * 30), f"must be at most {MAX_NUMBER:,}"),
    (("--len", "４"), "--len ４: must be a positive whole number, such as 512"),
    (("--window", LONG), f"must be at most {MAX_NUMBER:,}"),
    (("--window", "4x" + LONG), f"must be at most {MAX_NUMBER:,}"),
    (("--dilation", LONG), f"must be at most {MAX_NUMBER:,}"),
    (
        ("--global-tokens", "1000000000"),
        "--global-tokens 1000000000: must be at most 100,000 tokens",
    ),
    (("--global-tokens", "@" + LONG), f"must be at most {MAX_NUMBER:,}"),
    (("--global-tokens", "²"), "--global-tokens ²: "),
    (("--hidden-size", LONG), f"must be at most {MAX_NUMBER:,}"),
    (("--batch-size", "²"), "--batch-size ²: must be a positive whole number"),
    (("--num-heads", "100000000"), "--num-heads 100000000: must be at most 10,000"),
    (("--device", "gpu"), "--device gpu: unknown; did you mean cuda?"),
    (("--dtype", "half"), "--dtype half: unknown; did you mean float16?"),
    (("--model", ""), "--model (empty): needs a value"),
    (("--model",), "--model (empty): needs a value"),
    (("--no-isolation=3",), "--no-isolation: takes no value"),
    (("--timeout", "９"), "--timeout ９: must be a positive number of seconds"),
    (("--timeout", "9" * 30), "must be a positive number of seconds, at most"),
    (("--csv", "/dev/stdin"), "--csv /dev/stdin: is stdin; name a file"),
    (("--csv", "dangling"), "but folder /nowhere/at does not exist"),
    (("--csv", "loop"), "--csv loop: is a link to itself"),
    (("--csv", "x" * 255), "the file name is too long"),
    (("--csv", "a", "--json", "a"), "--json a: already used by --csv"),
    (
        ("--kernel", "torch.nn:Identity", "--input", "input=batch,len,hidden/5"),
        "--input input=batch,len,hidden/5: hidden/5 is not a whole number where hidden is 768",
    ),
]


def test_an_error_of_a_flag_has_no_space_before_its_colon() -> None:
    words = ["compare", "--kernel", "bert-sdpa", "--len", "64", "--allow-other-versions"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert result.stderr == "attnprof: --allow-other-versions: needs --dask\n"
    assert str(UsageError("allow_other_versions", "", "needs dask")) == (
        "allow_other_versions: needs dask"
    )


@pytest.mark.parametrize(("words", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_values_are_one_line_that_says_what_is_accepted(
    folder: Path, words: tuple[str, ...], message: str
) -> None:
    (folder / "dangling").symlink_to("/nowhere/at/all")
    (folder / "loop").symlink_to("loop")
    result = CliRunner().invoke(app, ["estimate", *words])
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("attnprof: ")
    assert message in line
    assert len(line) < 400


def test_lengths_are_accepted_up_to_the_largest_number() -> None:
    assert parse_lengths("0" * 5000 + "512") == [512]
    assert parse_lengths(str(MAX_NUMBER)) == [MAX_NUMBER]


def test_an_option_before_the_command_is_reported() -> None:
    result = CliRunner().invoke(app, ["--len", "512"], prog_name="attnprof")
    assert result.exit_code == 2
    assert (
        "--len: unknown option; options go after the command; see attnprof --help" in result.stderr
    )


def test_synonyms_of_choices_are_suggested() -> None:
    assert suggest("gpu", ("auto", "cpu", "cuda")) == "did you mean cuda?"
    assert suggest("gpu", ("cpu", "tpu")).startswith("did you mean")


def test_a_package_in_src_that_is_not_installed_gets_a_hint(folder: Path) -> None:
    (folder / "src" / "mine").mkdir(parents=True)
    words = ["estimate", "--kernel", "mine.model:Net", *SMALL, "--no-isolation"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "it is in src: set PYTHONPATH=src, or pip install -e ." in result.stderr
