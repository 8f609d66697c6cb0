"""`attnprof guard` as a command: output, exit codes, signals, and GitHub's variables."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from guard_contracts import ATTNPROF, SDPA, attnprof
from guard_project import contract
from timeouts import PATIENCE_SECONDS
from typer.testing import CliRunner

from attnprof.cli import app
from attnprof.guard import check as guard_check
from attnprof.guard.lockfile import read_lock

MASKED = contract("masked", "longformer-masked", [256, 512])
"""A kernel without transformers, whose import takes seconds."""


def test_init_check_and_update_work_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "attnprof.toml").write_text(MASKED)
    done = attnprof("guard", "init", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (
        0,
        "masked: new: 2 lengths, MACs quadratic, peak bytes quadratic\n",
    )
    lock = tmp_path / "attnprof.lock.json"
    lock.write_text(re.sub(r'("512": {"macs": )\d+', r"\g<1>1000", lock.read_text()))
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    done = attnprof(
        *("guard", "check", "--format", "json"),
        cwd=tmp_path,
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(summary),
        GITHUB_WORKSPACE=str(tmp_path),
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["contracts"][0]["status"] == "broken"
    assert done.stderr.startswith("::error file=attnprof.toml,line=1,title=")
    assert summary.read_text().startswith("before\n### attnprof guard: 1 contract: 1 broken")
    done = attnprof("guard", "update", "masked", cwd=tmp_path)
    assert done.returncode == 0
    assert "MACs at 512 tokens: 1.000 KMac → 1.914 GMac" in done.stdout
    assert done.stderr == "written: attnprof.lock.json\n"


def test_without_a_command_it_prints_its_help_only(tmp_path: Path) -> None:
    done = attnprof("guard", cwd=tmp_path)
    assert "Complexity contracts" in done.stdout
    assert (done.returncode, done.stderr) == (2, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("check",), "no contract found; write one"),
        (("check", "--config", "no.toml"), "no.toml: no such file"),
        (("check", "--format", "xml"), "--format xml: unknown; choose from"),
        (("chek",), "chek: unknown command; did you mean check?"),
        (("--strict", "check"), "--strict: unknown option; options go after the command"),
        (("check", "--config"), "--config (empty): needs a value"),
    ],
)
def test_a_usage_error_is_one_line_with_exit_code_2(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    done = attnprof("guard", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_reader_that_closes_the_pipe_does_not_change_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "attnprof.toml").write_text(MASKED)
    command = f"{ATTNPROF} guard check | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, check=False, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 1


WAITING = """
import pathlib
import time
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        pathlib.Path("begun").touch()
        time.sleep(1000)
"""


def test_an_interrupted_check_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(WAITING)
    (tmp_path / "attnprof.toml").write_text(
        "".join(contract(f"waits{index}", "net:Net", [64]) for index in range(5))
    )
    with subprocess.Popen(
        [ATTNPROF, "guard", "check"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not (tmp_path / "begun").exists():
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=guard_check.DEFAULT_TIMEOUT_S / 2)
    assert process.returncode == 130
    assert message == "attnprof: interrupted; nothing was written\n"


def test_a_summary_that_cannot_be_written_does_not_change_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "attnprof.toml").write_text(MASKED)
    summary = str(tmp_path / "no" / "summary.md")
    runner = CliRunner(env={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": summary})
    done = runner.invoke(app, ["guard", "check", "--no-isolation"])
    assert done.exit_code == 1
    assert "summary.md: the summary could not be written" in done.stderr


def test_reading_the_contracts_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "attnprof.toml").write_text(SDPA)
    code = (
        "import sys\nfrom attnprof.guard.config import read_configuration\n"
        "import attnprof.guard.check, attnprof.pytest_plugin\n"
        "read_configuration()\nprint('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout == "False\n"


def test_a_missing_lock_is_read_as_none(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "attnprof.lock.json") is None
