"""The examples run, and print the numbers that the README tells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from patience import PATIENCE_SECONDS

from attnprof import LongformerSelfAttention

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(name: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_tutorial_is_reproduced_and_corrected() -> None:
    lines = {
        line[:44].rstrip(): line[44:].split() for line in run("tutorial_corrected.py").splitlines()
    }
    projections = [f"{3 * n * 768**2:,}" for n in (512, 1024)]
    multiplied = [f"{3 * n * 768**2 + 2 * n * n * 768:,}" for n in (512, 1024)]
    assert projections == ["905,969,664", "1,811,939,328"]
    assert lines["the three projections alone"] == [*projections, "x2.00"]
    assert lines["multiplied, by formula"][:2] == multiplied
    assert lines["multiplied, counted by operator"][:2] == multiplied


def test_python_api() -> None:
    text = run("python_api.py")
    assert "10,000,000 tokens" in text
    assert "longformer-masked" in text


def test_snippet_of_the_readme_on_longformers_runs() -> None:
    section = (ROOT / "README.md").read_text().split("## Longformer attention in linear time")[1]
    names: dict[str, Any] = {}
    exec(section.split("```python\n")[1].split("```")[0], names)
    assert names["output"].shape == (2, 12, 5000, 64)
    (first, *_) = names["model"].longformer.encoder.layer
    assert isinstance(first.attention.self, LongformerSelfAttention)


# --- the guard ------------------------------------------------------------------------------------

BIN = Path(sys.executable).parent
WORKFLOW = EXAMPLES / "guard" / "github-workflow.yml"


def bash(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """As a step of a workflow runs: with the virtual environment's commands first."""
    paths = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        env={**os.environ, "PATH": paths, **environment},
    )


@pytest.fixture
def guarded(tmp_path: Path) -> Path:
    """The example's project, and one that a careless change has made quadratic."""
    folder = tmp_path / "project"
    shutil.copytree(EXAMPLES / "guard", folder)
    return folder


def make_quadratic(folder: Path) -> None:
    path = folder / "encoder.py"
    linear, dense = "q @ (k.transpose(-1, -2) @ v)", "(q @ k.transpose(-1, -2)) @ v"
    assert linear in path.read_text()
    path.write_text(path.read_text().replace(linear, dense))


def test_the_hook_lets_a_commit_pass_and_refuses_a_broken_contract(guarded: Path) -> None:
    shutil.move(guarded / "pre-commit-config.yaml", guarded / ".pre-commit-config.yaml")
    who = {
        **{f"GIT_{role}_NAME": "a" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": "a@b.c" for role in ("AUTHOR", "COMMITTER")},
        "PRE_COMMIT_HOME": str(guarded.parent / "pre-commit"),
    }
    begun = bash("git init -q && git add . && pre-commit install", guarded, **who)
    assert begun.returncode == 0, begun.stderr
    kept = bash("git commit -qm first", guarded, **who)
    assert kept.returncode == 0, kept.stderr
    make_quadratic(guarded)
    refused = bash("git commit -qam second", guarded, **who)
    assert refused.returncode == 1
    assert "encoder: MACs grow quadratically with length" in refused.stderr
    assert bash("git log --oneline | wc -l", guarded).stdout.strip() == "1"


def test_the_workflow_is_one_and_its_check_annotates(guarded: Path, tmp_path: Path) -> None:
    schema = ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)]
    done = bash(" ".join(schema), tmp_path)
    assert done.returncode == 0, done.stdout
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["guard"]["steps"]
    (command,) = (step["run"] for step in steps if step.get("name") == "Complexity contracts")
    github = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(guarded),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    kept = bash(command, guarded, **github)
    assert (kept.returncode, kept.stderr) == (0, "")
    make_quadratic(guarded)
    broken = bash(command, guarded, **github)
    assert broken.returncode == 1
    assert broken.stderr.startswith("::error file=attnprof.toml,line=1,title=attnprof guard%3A enc")
    assert "1 broken" in (tmp_path / "summary.md").read_text()
    # The README shows it as it is.
    report = broken.stdout.partition("\n\n")[2].rpartition("\n\n1 contract")[0]
    assert report in (ROOT / "README.md").read_text()


def test_snippet_of_the_readme_on_growth_holds() -> None:
    section = (ROOT / "README.md").read_text().split("## Guarding complexity")[1]
    names: dict[str, Any] = {}
    exec(section.split("```python\n")[1].split("```")[0], names)
    names["test_the_encoder_stays_linear"]()
