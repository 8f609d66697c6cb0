"""What `attnprof` alone and every `--help` show."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from loaded_modules import loaded_by
from rich.text import Text
from typer.testing import CliRunner

from attnprof.cli import app
from attnprof.cli.commands import SUMMARIES
from attnprof.cli.lazy_commands import LazyCommand

COLUMNS = 80


def loaded(name: str) -> Any:
    return LazyCommand(name, SUMMARIES[name]).load()


GUARD = loaded("guard")
COMMANDS: dict[str, Any] = {
    **{name: loaded(name) for name in SUMMARIES},
    **{f"guard {name}": command for name, command in GUARD.commands.items()},
}


def out(*words: str) -> str:
    result = CliRunner(env={"COLUMNS": str(COLUMNS)}).invoke(app, words, prog_name="attnprof")
    assert result.exit_code == 0, result.output
    return result.stdout


def example_of(text: str) -> list[str]:
    """The words of the example, which must stand above all panels."""
    above = text.partition("╭")[0]
    (example,) = re.findall(r"Example: (attnprof .*)", above)
    return shlex.split(example)[1:]


def parse(words: list[str], path: list[str]) -> Any:
    """Parse the words after a command; an unknown option or a stray word raises."""
    command = COMMANDS[" ".join(path)]
    return command.make_context(path[-1], words[len(path) :])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_an_example_of_the_command(name: str) -> None:
    words = example_of(out(*name.split(), "--help"))
    assert " ".join(words).startswith(name)
    path = words[:2] if words[0] == "guard" else words[:1]
    with parse(words, path) as ctx:
        assert ctx.params


@pytest.mark.parametrize("words", ["--help", "estimate --help", "kernels --help"])
def test_examples_that_are_quick_work_anywhere(
    words: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "longformer-banded" in out(*example_of(out(*words.split())))


@pytest.mark.parametrize("name", COMMANDS)
def test_no_word_of_the_help_is_broken_and_no_line_too_wide(name: str) -> None:
    text = out(*name.split(), "--help")
    assert max(map(len, text.splitlines())) <= COLUMNS
    shown = text.replace("│", " ").split()
    command = COMMANDS[name]
    for parameter in command.params:
        described = Text.from_markup(parameter.help).plain
        for word in [*described.split(), *parameter.opts[:1], parameter.metavar or ""]:
            assert not word or word in shown or parameter.param_type_name == "argument", word


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_have_one_style_and_flags_no_type(name: str) -> None:
    text = " ".join(out(*name.split(), "--help").replace("│", " ").split())
    assert text.count("default: ") == len(re.findall(r"\[default: [^][]+\]", text))
    assert "bool" not in text
    for parameter in COMMANDS[name].params:
        if isinstance(parameter.default, str):
            assert f"[default: {parameter.default}]" in text


def test_defaults_in_the_help_are_those_of_the_command() -> None:
    options: list[str] = []
    for parameter in COMMANDS["estimate"].params:
        default = re.search(r"\[default: ([\w -]+)\]", Text.from_markup(parameter.help).plain)
        if default and parameter.name != "input":  # whose default is none that can be typed
            options += [parameter.opts[0], *default.group(1).split()]
    assert {"--kernel", "--len", "--window", "--scope", "--batch-size"} <= set(options)
    assert out("estimate", "--csv", "-", *options) == out("estimate", "--csv", "-")


def test_help_shows_no_option_of_another_command() -> None:
    assert "--max-seconds" not in out("estimate", "--help")
    assert "--no-peers" not in out("compare", "--help")


def test_attnprof_alone_shows_one_command_to_try_and_it_works() -> None:
    text = out()
    (command,) = re.findall(r"^Try: +attnprof (.+)$", text, re.MULTILINE)
    assert "32,768" in out(*command.split())
    for name, summary in SUMMARIES.items():
        assert f"  {name} " in text
        assert summary in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert len(text.splitlines()) <= 25


def test_attnprof_alone_loads_nothing_heavy() -> None:
    code = (
        "from typer.testing import CliRunner; from attnprof.cli import app\n"
        "assert CliRunner().invoke(app, []).exit_code == 0"
    )
    assert loaded_by(code) == set()
