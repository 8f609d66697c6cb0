"""The examples and the guides: scripts run, commands parse, snippets run, links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from timeouts import PATIENCE_SECONDS
from typer.core import TyperGroup
from typer.main import get_command

from attnprof import LongformerSelfAttention, kernels
from attnprof.cli import app
from attnprof.options import GridOptions, read_cases

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
README = ROOT / "README.md"
ACTION_GUIDE = ROOT / ".github" / "actions" / "attnprof" / "README.md"
GUIDES = (README, ROOT / "tests" / "README.md", ACTION_GUIDE, *sorted(EXAMPLES.rglob("*.md")))
BIN = Path(sys.executable).parent
WORKFLOW = EXAMPLES / "guard" / "github-workflow.yml"

MAX_README_LINES = 200

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`([^`]+)`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]+))?\)")
ATTNPROF = re.compile(r"(?:^|&& |\$ )(?:\S*/)?attnprof (.+?)(?= && |$)")
SCRIPT = re.compile(r"examples/[\w/]+\.py")


def run(name: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_tutorial_is_reproduced_and_corrected() -> None:
    """That the script prints what the guide shows is tested in `test_guides.py`."""
    shown = (EXAMPLES / "tutorial_corrected.md").read_text()
    lines = {line[:44].rstrip(): line[44:].split() for line in shown.splitlines()}
    projections = [f"{3 * n * 768**2:,}" for n in (512, 1024)]
    executed = [f"{3 * n * 768**2 + 2 * n * n * 768:,}" for n in (512, 1024)]
    assert projections == ["905,969,664", "1,811,939,328"]
    assert lines["the three projections alone"] == [*projections, "x2.00"]
    assert lines["executed, by formula"][:2] == executed
    assert lines["executed, counted by operator"][:2] == executed


def test_python_api() -> None:
    text = run("python_api.py")
    assert "10,000,000 tokens" in text
    assert "longformer-masked" in text


# --- the guard ------------------------------------------------------------------------------------


def bash(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step of a workflow, with the commands of the virtual environment first."""
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
    """A copy of the example's project."""
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
    identity = {
        **{f"GIT_{role}_NAME": "a" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": "a@b.c" for role in ("AUTHOR", "COMMITTER")},
        "PRE_COMMIT_HOME": str(guarded.parent / "pre-commit"),
    }
    installed = bash("git init -q && git add . && pre-commit install", guarded, **identity)
    assert installed.returncode == 0, installed.stderr
    kept = bash("git commit -qm first", guarded, **identity)
    assert kept.returncode == 0, kept.stderr
    make_quadratic(guarded)
    refused = bash("git commit -qam second", guarded, **identity)
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
    # The guide shows it as it is, and the README its beginning.
    report = broken.stdout.partition("\n\n")[2].rpartition("\n\n1 contract")[0]
    assert report in (EXAMPLES / "guard" / "README.md").read_text()
    assert "".join(broken.stdout.splitlines(keepends=True)[:5]) in README.read_text()


# --- the guides -----------------------------------------------------------------------------------


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def fences(path: Path, *languages: str) -> list[str]:
    blocks = FENCE.findall(path.read_text())
    return [text for language, text in blocks if language in languages]


def commands_in(path: Path) -> set[str]:
    """The words after `attnprof` of each command, in blocks of commands and in sentences."""
    lines = [line for text in fences(path, "sh", "console") for line in text.splitlines()]
    prose = FENCE.sub("", path.read_text())
    lines += [" ".join(code.split()) for code in INLINE_CODE.findall(prose)]
    commands = {words for line in lines for words in ATTNPROF.findall(line)}
    return {words for words in commands if "[" not in words}  # [NAME] is a placeholder


COMMANDS = [(name_of(path), words) for path in GUIDES for words in sorted(commands_in(path))]
SNIPPETS = [
    pytest.param(path, code, id=f"{name_of(path)}-{number}")
    for path in GUIDES
    for number, code in enumerate(fences(path, "python"))
]


def parsed_options(words: list[str]) -> dict[str, Any]:
    """The options of the command that these words call; it is not run."""
    group: Any = get_command(app)
    name, *rest = words
    context = group.make_context("attnprof", [name], resilient_parsing=True)
    command = group.get_command(context, name).load()
    if isinstance(command, TyperGroup):
        name, *rest = rest
        assert name in command.commands
        command = command.commands[name]
    return command.make_context(name, rest).params


def test_the_readme_is_short_and_the_guides_are_read() -> None:
    assert len(README.read_text().splitlines()) <= MAX_README_LINES
    assert len(COMMANDS) > 20
    assert len(SNIPPETS) > 6


@pytest.mark.parametrize(("guide", "words"), COMMANDS)
def test_commands_of_the_guides_are_accepted(guide: str, words: str) -> None:
    command, *rest = [word for word in shlex.split(words) if word != "--help"] or ["--help"]
    if [command, *rest] in (["--help"], ["guard"], ["--install-completion"], ["--show-completion"]):
        return  # options of no command, and a group of commands by name
    options = parsed_options([command, *rest])
    if command == "guard":
        return
    grid = {name: options[name] for name in GridOptions.__annotations__ if options.get(name)}
    if any(kernels.is_custom(name) for name in grid.get("kernel", ())):
        del grid["kernel"]  # a module or config that only the reader has
        grid.pop("input", None)
    assert read_cases(cast("GridOptions", grid), "cpu")


@pytest.mark.parametrize(("path", "code"), SNIPPETS)
def test_snippets_of_the_guides_run_and_print_what_they_say(
    path: Path,
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = compile(code, name_of(path), "exec")
    if ".compare(" in code:  # which takes minutes
        return
    monkeypatch.chdir(tmp_path)  # for the files that they save
    names: dict[str, Any] = {}
    exec(program, names)
    for name, function in list(names.items()):
        if name.startswith("test_"):
            function()
    assert capsys.readouterr().out in path.read_text()


def test_snippet_on_longformers_replaces_the_attention() -> None:
    (code,) = fences(EXAMPLES / "longformer.md", "python")
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["output"].shape == (2, 12, 5000, 64)
    (first, *_) = names["model"].longformer.encoder.layer
    assert isinstance(first.attention.self, LongformerSelfAttention)


@pytest.mark.parametrize("path", GUIDES, ids=name_of)
def test_links_and_scripts_of_the_guides_are_there(path: Path) -> None:
    text = FENCE.sub("", path.read_text())
    for target, anchor in LINK.findall(text):
        if "://" in target:
            continue
        linked = (path.parent / target).resolve() if target else path
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors_of(linked), f"{target}#{anchor}"
    for script in SCRIPT.findall(path.read_text()):
        assert (ROOT / script).is_file(), script


def anchors_of(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings."""
    headings = HEADING.findall(FENCE.sub("", path.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_guide_and_script_is_in_an_index() -> None:
    index = (EXAMPLES / "README.md").read_text() + (EXAMPLES / "benchmarks/README.md").read_text()
    for path in [*EXAMPLES.glob("*.md"), *EXAMPLES.glob("*.py"), *EXAMPLES.glob("benchmarks/*.py")]:
        assert path.name == "README.md" or f"]({path.name})" in index, path.name
