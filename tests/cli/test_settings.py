"""Defaults of options from the environment and from pyproject.toml."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from command_line import lengths_of
from typer.testing import CliRunner

import attnprof
from attnprof.cli import app
from attnprof.cli.commands import SUMMARIES
from attnprof.cli.lazy_commands import LazyCommand
from attnprof.cli.settings import FLAGS, LISTS, NAMES, OUTPUTS, TEXTS, Setting, read_settings

BASE = ("--kernel", "bert-sdpa", "--csv", "-")
OPTIONS = ("kernel", "len", "dtype", "max_seconds", "details", "machine", "timeout")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project" / "sub"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def write(text: str, file: str = "../pyproject.toml") -> None:
    Path(file).write_text(text)


def estimate(*words: str, **environment: str) -> Any:
    return CliRunner(env=environment).invoke(app, ["estimate", *BASE, *words])


def values(command: str = "compare", **environment: str) -> dict[str, Any]:
    settings = read_settings(command, OPTIONS, environment, Path.cwd())
    return {name: setting.value for name, setting in settings.items()}


def test_an_option_comes_before_a_variable_before_the_file() -> None:
    assert lengths_of(estimate().stdout) == [512, 1024, 4096]
    write("[tool.attnprof]\nlen = [64, 128]\n")
    assert lengths_of(estimate().stdout) == [64, 128]
    assert lengths_of(estimate(ATTNPROF_LEN="256 96").stdout) == [96, 256]
    assert lengths_of(estimate("--len", "32", ATTNPROF_LEN="256 96").stdout) == [32]
    assert lengths_of(estimate(ATTNPROF_LEN="").stdout) == [64, 128]


def test_the_table_of_a_command_comes_before_the_general_one() -> None:
    write(
        "[tool.attnprof]\nlen = 64\ntimeout = 5\n"
        "[tool.attnprof.compare]\nlen = '1k 2k'\n[tool.attnprof.estimate]\nlen = ['128', 96]\n"
    )
    assert values("compare") == {"len": ("1k", "2k"), "timeout": "5"}
    assert lengths_of(estimate().stdout) == [96, 128]


def test_the_nearest_file_with_settings_counts(folder: Path) -> None:
    write("[tool.attnprof]\nlen = 64\n", "../../pyproject.toml")
    write("[tool.other]\nlen = 32\n", "../pyproject.toml")
    write("[tool.attnprof.guard.encoder]\ntarget = 'bert-sdpa'\nlen = [32]\n", "pyproject.toml")
    (setting,) = read_settings("compare", OPTIONS, {}, folder).values()
    assert setting == Setting(("64",), "../../pyproject.toml [tool.attnprof] len")


def test_flags_are_true_or_false() -> None:
    write("[tool.attnprof]\ndetails = true\n")
    assert values() == {"details": True}
    for word, value in {"0": False, "no": False, "FALSE": False, "1": True, "on": True}.items():
        assert values(ATTNPROF_DETAILS=word) == {"details": value}


def test_numbers_are_text_as_on_the_command_line() -> None:
    write("[tool.attnprof.compare]\nmax_seconds = 2.5\nlen = [512, '4k']\n")
    assert values() == {"max_seconds": "2.5", "len": ("512", "4k")}


def test_paths_in_the_file_are_relative_to_it() -> None:
    write(
        "[tool.attnprof]\nmachine = 'machine.json'\n"
        "kernel = ['bert-sdpa', 'configs/model.json::encoder.layer.0', '/etc/model.json']\n"
    )
    assert values() == {
        "machine": "../machine.json",
        "kernel": ("bert-sdpa", "../configs/model.json::encoder.layer.0", "/etc/model.json"),
    }
    assert values(ATTNPROF_MACHINE="machine.json")["machine"] == "machine.json"


FILE = "../pyproject.toml [tool.attnprof"
WRONG = [
    ("dtpe = 1", f"{FILE}] dtpe: unknown; did you mean dtype?"),
    ("max-seconds = 1", f"{FILE}] max-seconds: unknown; did you mean max_seconds?"),
    ("csv = 'x.csv'", f"{FILE}] csv: is no setting; give --csv on the command line"),
    ("resume = true", f"{FILE}] resume: is no setting; give --resume on the command line"),
    ("details = 'yes'", f"{FILE}] details yes: must be true or false"),
    ("details = 1", f"{FILE}] details 1: must be true or false"),
    ("dtype = true", f"{FILE}] dtype True: must be text or a number"),
    ("dtype = ['float32']", f"{FILE}] dtype ['float32']: must be text or a number"),
    ("dtype = ''", f"{FILE}] dtype (empty): needs a value"),
    ("len = []", f"{FILE}] len (empty): needs at least one value"),
    ("len = [[512]]", f"{FILE}] len [512]: must be text or a number"),
    ("compare = 3", f"{FILE}] compare 3: must be a table"),
    ("[tool.attnprof.compar]", f"{FILE}] compar: unknown; did you mean compare?"),
    ("[tool.attnprof.audit]\ndtpe = 1", f"{FILE}.audit] dtpe: unknown; did you mean dtype?"),
    (
        "[tool.attnprof.estimate]\nmax_seconds = 1",
        f"{FILE}.estimate] max_seconds: is no option of this command; choose from ",
    ),
    ("dtype = 'fp8'", f"{FILE}] dtype fp8: unknown; choose from "),
    ("dtype = 'bf16'", f"{FILE}] dtype bf16: unknown; did you mean bfloat16?"),
    ("window = 511", f"{FILE}] window 511: must be "),
    ("len = ['0']", f"{FILE}] len 0: must be "),
    ("scope", "../pyproject.toml: cannot be read: "),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[text for text, _ in WRONG])
def test_a_wrong_setting_is_one_line_that_names_file_and_key(text: str, message: str) -> None:
    write(f"[tool.attnprof]\n{text}\n")
    done = estimate()
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"attnprof: {message}")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ATTNPROF_DTYPE", "bf16", "ATTNPROF_DTYPE bf16: unknown; did you mean bfloat16?"),
        ("ATTNPROF_DTPE", "bf16", "ATTNPROF_DTPE: unknown; did you mean ATTNPROF_DTYPE?"),
        ("ATTNPROF_DETAILS", "maybe", "ATTNPROF_DETAILS maybe: must be 1 or 0"),
        ("ATTNPROF_LEN", " ", "ATTNPROF_LEN (empty): needs at least one value"),
        ("ATTNPROF_CSV", "x", "ATTNPROF_CSV: is no setting; give --csv on the command line"),
        ("ATTNPROF_NUM_HEADS", "7", "ATTNPROF_NUM_HEADS 7: must divide hidden_size 768"),
    ],
)
def test_a_wrong_variable_is_one_line_that_names_it(
    variable: str, value: str, message: str
) -> None:
    done = estimate(**{variable: value})
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"attnprof: {message}\n"


def test_a_wrong_option_is_named_as_one_whatever_is_set() -> None:
    done = estimate("--dtype", "fp9", ATTNPROF_DTYPE="float32")
    assert done.stderr.startswith("attnprof: --dtype fp9: unknown")


def test_help_shows_what_is_set_and_comes_despite_errors() -> None:
    write("[tool.attnprof.estimate]\nlen = [64, 128]\n")
    text = " ".join(estimate("--help", ATTNPROF_DETAILS="1").stdout.split())
    assert "--len 64 128: set by ../pyproject.toml [tool.attnprof.estimate] len" in text
    assert "--details: set by ATTNPROF_DETAILS" in text
    assert "[default: 512 1024 4096]" in " ".join(text.replace("│", " ").split())
    assert "[default: 64" not in text
    write("[tool.attnprof]\nno_such = 1\n")
    assert estimate("--help").exit_code == 0


def test_a_file_that_does_not_mention_attnprof_is_left_alone() -> None:
    Path("../pyproject.toml").write_bytes(b"this is neither TOML nor UTF-8: \xff")
    assert estimate().exit_code == 0


def test_a_deleted_working_directory_has_no_file_but_variables(folder: Path) -> None:
    folder.rmdir()
    assert lengths_of(estimate(ATTNPROF_LEN="64").stdout) == [64]


def test_a_picture_of_a_pattern_takes_no_grid_of_cases() -> None:
    write("[tool.attnprof]\nlen = [512, 1024]\ndtype = 'bfloat16'\n")
    assert values("pattern", ATTNPROF_KERNEL="bert-sdpa") == {"dtype": "bfloat16"}


def test_the_settings_of_the_guide_can_be_used() -> None:
    guide = Path(attnprof.__file__).parents[1] / "examples" / "options.md"
    (toml,) = re.findall(r"```toml\n(\[tool\.attnprof\].*?)```", guide.read_text(), re.DOTALL)
    write(toml)
    (variables,) = re.findall(r"^(ATTNPROF_.*) attnprof estimate$", guide.read_text(), re.MULTILINE)
    assert values() == {
        "dtype": "bfloat16",
        "len": ("512", "4k", "16384"),
        "max_seconds": "30",
        "details": True,
    }
    environment = dict(word.split("=") for word in shlex.split(variables))
    assert lengths_of(estimate(**environment).stdout) == [512, 4096]


def test_the_guard_has_no_settings() -> None:
    write("[tool.attnprof]\nno_time = true\n[tool.attnprof.guard.a]\ntarget = 'x'\n")
    result = CliRunner(env={"ATTNPROF_NO_SUCH": "1"}).invoke(app, ["guard", "check", "--help"])
    assert result.exit_code == 0
    assert "set by" not in result.stdout


def test_the_command_in_the_results_has_the_settings_that_were_in_effect() -> None:
    write("[tool.attnprof]\nlen = [64, 128]\ndtype = 'float16'\n")
    done = estimate("--dtype", "float32", "--json", "x.json", ATTNPROF_EXPLAIN="1")
    assert done.exit_code == 0
    command = json.loads(Path("x.json").read_text())["command"]
    assert command == (
        "attnprof estimate --kernel bert-sdpa --csv - --dtype float32 --json x.json "
        "--len 64 128 --explain"
    )


def test_python_is_not_affected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNPROF_LEN", "64")
    write("[tool.attnprof]\nkernel = 'bert-sdpa'\n")
    assert {row.workload.seq_len for row in attnprof.estimate(kernel="bert-eager").rows} == {
        *(512, 1024, 4096)
    }


def test_every_option_is_a_setting_or_an_output() -> None:
    """A new option belongs in one of the lists of `attnprof.cli.settings`."""
    found: dict[str, Any] = {}
    for name, summary in SUMMARIES.items():
        if name != "guard":
            command: Any = LazyCommand(name, summary).load()
            options = [p for p in command.params if p.param_type_name == "option"]
            found.update({option.name: option for option in options})
    assert set(NAMES) <= set(found) <= {*NAMES, *OUTPUTS}
    assert {name for name in NAMES if found[name].multiple} == set(LISTS)
    assert {name for name in NAMES if found[name].is_flag} == set(FLAGS)
    assert len(NAMES) == len({*LISTS, *FLAGS, *TEXTS})
