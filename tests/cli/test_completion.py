"""What shells are told when they ask for completions, in the protocols of bash, zsh and fish."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest
from command_line import ATTNPROF
from loaded_modules import loaded_by
from timeouts import PATIENCE_SECONDS
from typer.testing import CliRunner

from attnprof import kernels
from attnprof.cli import app
from attnprof.cli.commands import SUMMARIES
from attnprof.core.presets import MODELS
from attnprof.core.workload import DType, Mode
from attnprof.guard.reports import FORMATS
from attnprof.options import DEVICES, SCOPES

LONGFORMERS = [name for name in kernels.names() if name.startswith("longformer")]


def environment(shell: str, line: str) -> dict[str, str]:
    """The variables that a shell's script sets for a line with the cursor at its end."""
    words = line.split()
    return {
        "_ATTNPROF_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - (not line.endswith(" "))),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }


def completed(line: str, shell: str = "bash") -> list[str]:
    result = CliRunner(env=environment(shell, line)).invoke(app, [], prog_name="attnprof")
    assert result.exit_code == 0, result.output
    return [line for line in result.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("attnprof ", list(SUMMARIES)),
        ("attnprof est", ["estimate"]),
        ("attnprof guard ", ["init", "update", "check", "diff"]),
        ("attnprof compare --max", ["--max-seconds"]),
        ("attnprof compare --kernel ", kernels.names()),
        ("attnprof compare --kernel bert-sdpa long", LONGFORMERS),
        ("attnprof compare --kernel=bert-sdpa long", LONGFORMERS),
        ("attnprof compare --kernel = long", LONGFORMERS),
        ("attnprof compare --len 512 --kernel bert-sdpa --dtype ", get_args(DType)),
        ("attnprof compare --dtype = bf", ["bfloat16"]),
        ("attnprof estimate --model ", [model.name for model in MODELS]),
        ("attnprof estimate --model=bert-l", ["bert-large"]),
        ("attnprof breakdown --mode ", get_args(Mode)),
        ("attnprof audit --scope ", SCOPES),
        ("attnprof kernels --device ", DEVICES),
        ("attnprof doctor --device cu", ["cuda"]),
        ("attnprof compare --chart b", ["breakdown"]),
        ("attnprof guard check --format ", list(FORMATS)),
        ("attnprof compare --kernel no-such-kernel-", []),
    ],
)
def test_bash_gets_the_values_at_the_cursor(line: str, values: list[str]) -> None:
    assert completed(line) == list(values)


@pytest.mark.parametrize("option", ["--csv", "--png", "--machine", "--len"])
def test_a_path_is_left_to_the_shell(option: str) -> None:
    """No answer: the scripts then complete file names."""
    assert completed(f"attnprof compare {option} ") == []


def test_a_kernel_that_is_a_file_is_left_to_the_shell() -> None:
    assert completed("attnprof compare --kernel conf") == []


def test_after_a_complete_option_the_others_are_offered() -> None:
    offered = completed("attnprof compare --dtype float32 ")
    assert "--window" in offered
    assert "--dtype" not in offered
    assert offered == completed("attnprof compare --dtype float32 --")


def test_fish_and_zsh_get_descriptions() -> None:
    line = "attnprof compare --kernel bert-sdpa longformer-h"
    summary = kernels.find("longformer-hf").summary
    assert completed(line, "fish") == [f"longformer-hf\t{summary}"]
    (answer,) = completed(line, "zsh")
    assert answer.startswith('_arguments \'*: :(("longformer-hf":')


@pytest.mark.parametrize(("line", "code"), [("--dtype ", 0), ("--csv ", 1)])
def test_fish_is_told_when_to_complete_file_names(line: str, code: int) -> None:
    variables = environment("fish", f"attnprof compare {line}")
    variables["_TYPER_COMPLETE_FISH_ACTION"] = "is-args"
    result = CliRunner(env=variables).invoke(app, [], prog_name="attnprof")
    assert result.exit_code == code


def test_contracts_are_completed_where_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert completed("attnprof guard check ") == []
    contract = '[guard.encoder]\ntarget = "bert-sdpa"\nlen = [64, 128]\n'
    Path("attnprof.toml").write_text(contract)
    assert completed("attnprof guard check en") == ["encoder"]


def test_settings_that_are_wrong_do_not_disturb_completion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text("[tool.attnprof]\nno_such_key = 1\n")
    assert completed("attnprof compare --mode inf") == ["inference"]


def test_completion_loads_nothing_heavy() -> None:
    variables = environment("bash", "attnprof compare --kernel ")
    code = (
        "from typer.testing import CliRunner; from attnprof.cli import app\n"
        f"result = CliRunner(env={variables!r}).invoke(app, [], prog_name='attnprof')\n"
        "assert 'bert-sdpa' in result.stdout, result"
    )
    assert loaded_by(code) == set()


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_the_script_for_bash_defines_a_completion_that_works() -> None:
    script = f"""
    eval "$({ATTNPROF} --show-completion bash)"
    COMP_WORDS=(attnprof compare --kernel bert-sdpa longformer-m) COMP_CWORD=4
    _attnprof_completion {ATTNPROF}
    echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert done.stdout == "longformer-masked\n"
