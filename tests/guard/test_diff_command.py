"""`attnprof guard diff` as a command: options, exit codes, and what a killed run leaves."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from git_project import IDENTITY, GitProject, net, net_contract
from guard_contracts import attnprof
from timeouts import PATIENCE_SECONDS
from typer.testing import CliRunner

from attnprof.cli import app
from attnprof.guard.reports.diff_text import render
from attnprof.isolation.workers import InProcessWorkers, Workers
from attnprof.options import GridOptions

EXAMPLES = Path(__file__).parents[2] / "examples"

WAITING = "import pathlib, time\npathlib.Path('{begun}').touch()\ntime.sleep(1000)\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitProject:
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    project = GitProject(tmp_path / "project", InProcessWorkers())
    project.commit({"attnprof.toml": net_contract(), "net.py": net(16)})
    monkeypatch.chdir(project.folder)
    return project


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "BASE: name the revision to compare with, such as main"),
        (("mian",), "mian: unknown revision; did you mean main?"),
        (("main", "no-such"), "no-such: unknown revision; name a branch, a tag or a commit"),
        (("main", "main", "main"), "main: does not belong to an option"),
        (("main", "--format", "xml"), "--format xml: unknown; choose from"),
        (("main", "--len", "64"), "--len 64: applies to targets of --kernel"),
        (("main", "--kernel", "net:Net", "--len", "x"), "--len x: "),
        (("main", "--kernel", "bert-spda"), "--kernel bert-spda: unknown; did you mean bert-sdpa?"),
        (
            ("main", "--kernel", "longformer-banded", "--window", "64", "128"),
            "--window 64 128: must be one value: revisions are compared",
        ),
        (
            ("main", "--kernel", "longformer-banded", "--window", "63"),
            "--window 63: must be",
        ),
        (("main", "--kernel", "net:Net", "--config", "a.toml"), "--config a.toml: contracts and"),
        (("main", "--config", "no.toml"), "no.toml: no such file"),
        (("main", "--strict"), "--strict: applies to times; add --time"),
        (("main", "--timeout", "0"), "--timeout 0: must be"),
    ],
)
def test_a_usage_error_is_one_line_with_exit_code_2(
    project: GitProject, words: tuple[str, ...], message: str
) -> None:
    done = CliRunner().invoke(app, ["guard", "diff", *words])
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_outside_a_repository_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["guard", "diff", "main"])
    assert done.exit_code == 2
    assert "compares revisions of a git repository, and there is none here" in done.stderr


def test_errors_in_the_contracts_of_a_commit_name_the_commit(project: GitProject) -> None:
    project.commit({"attnprof.toml": "[guard.net]\n"})
    done = CliRunner().invoke(app, ["guard", "diff", "main", "main"])
    assert done.exit_code == 2
    assert done.stderr.startswith("attnprof: main:attnprof.toml:1: guard.net.target: is missing")
    (project.folder / "attnprof.toml").unlink()
    project.commit({"other.txt": ""})
    done = CliRunner().invoke(app, ["guard", "diff", "main", "main"])
    assert (done.exit_code, done.stderr[:33]) == (2, "attnprof: main: no contract found")


def test_the_verdict_goes_to_github_too(project: GitProject, tmp_path: Path) -> None:
    project.write({"net.py": net(24)})
    summary = tmp_path / "summary.md"
    done = attnprof(
        *("guard", "diff", "main", "--format", "json"),
        cwd=project.folder,
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(summary),
        GITHUB_WORKSPACE=str(project.folder),
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["contracts"][0]["verdict"] == "broken"
    assert done.stderr.startswith("::error file=attnprof.toml,line=1,title=attnprof guard%3A net")
    assert summary.read_text().startswith(
        "<!-- attnprof guard diff -->\n**attnprof guard diff**: ❌"
    )


def test_the_guide_shows_what_the_commands_print(
    project: GitProject, guard_workers: Workers, tmp_path: Path
) -> None:
    shutil.copytree(EXAMPLES / "guard", tmp_path / "guard")
    guarded = GitProject(tmp_path / "guard", guard_workers)
    guarded.commit({})
    encoder = (EXAMPLES / "guard" / "encoder.py").read_text()
    linear, dense = "q @ (k.transpose(-1, -2) @ v)", "(q @ k.transpose(-1, -2)) @ v"
    guarded.write({"encoder.py": encoder.replace(linear, dense)})
    target: GridOptions = {"kernel": ["encoder:build"], "hidden_size": 256, "num_heads": 4}
    guide = re.sub(r"main \(\w{7}\)", "main", (EXAMPLES / "guard_diff.md").read_text())
    shown = re.findall(r"^```\n(main → .*?)^```$", guide, re.MULTILINE | re.DOTALL)
    for targets, text in zip((None, {**target, "len": ["1024", "4096"]}), shown, strict=True):
        printed = re.sub(r"main \(\w{7}\)", "main", render(guarded.diff(targets=targets)))
        assert printed.startswith(text)


def test_an_interrupted_run_leaves_no_worktree(project: GitProject, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    waiting = project.commit({"net.py": WAITING.format(begun=begun)})
    project.commit({"net.py": net(16)})
    with started("-m", "attnprof", "guard", "diff", waiting, folder=tmp_path) as process:
        wait_for(begun, process)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert message == "attnprof: interrupted; nothing was written\n"
    assert not list(tmp_path.glob("attnprof-diff-*"))
    assert len(project.git("worktree", "list").splitlines()) == 1


KILLED = """
import pathlib, sys, time
from attnprof.guard.revisions import find_repository, worktrees

repository = find_repository(pathlib.Path.cwd())
with worktrees(repository) as trees:
    trees.path(repository.revision("base", "main"))
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(1000)
"""


def test_the_next_run_removes_what_a_killed_one_has_left(
    project: GitProject, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    with started("-c", KILLED, str(begun), folder=tmp_path) as process:
        wait_for(begun, process)
        CliRunner().invoke(app, ["guard", "diff", "main", "--config", "no.toml"])
        (left,) = tmp_path.glob("attnprof-diff-*")  # still running
        process.kill()
    CliRunner().invoke(app, ["guard", "diff", "main", "--config", "no.toml"])
    assert not left.exists()
    assert len(project.git("worktree", "list").splitlines()) == 1


def started(*words: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not path.exists():
        time.sleep(0.1)
