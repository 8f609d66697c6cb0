"""Which modules are loaded when: commands that need no torch do not import it."""

from __future__ import annotations

from pathlib import Path

import pytest
from loaded_modules import HEAVY, loaded_by, modules_of
from saved_tables import ENDINGS, run

from attnprof.cli.commands import SUMMARIES


def command(*words: str) -> str:
    return (
        "from typer.testing import CliRunner; from attnprof.cli import app\n"
        f"result = CliRunner().invoke(app, {list(words)!r}); assert result.exit_code == 0, result"
    )


@pytest.mark.parametrize(
    "code",
    [
        "import attnprof",
        "from attnprof import AttentionPattern, Workload, ResultTable",
        "import attnprof; attnprof.estimate(len=512)",
        command("compare", "--help"),
        command("estimate", "--len", "512", "1024", "--csv", "-"),
        command("estimate", "--len", "512"),
        "import attnprof; print(attnprof.estimate(len=512))",
    ],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    assert loaded_by(code) == set()


def test_saved_results_are_shown_without_torch_and_measuring(tmp_path: Path) -> None:
    path = str(tmp_path / "costs.json")
    run(endings=ENDINGS).save(path)
    assert loaded_by(command("report", path, "--details")) == set()
    chart = ("--svg", str(tmp_path / "costs.svg"))
    loaded = modules_of(command("report", path, path, "--name", "a", "b", *chart))
    assert loaded.isdisjoint({"torch", "transformers", "ptflops", "pandas"})
    assert not [name for name in loaded if name.startswith("attnprof.measure")]


def test_help_and_estimate_load_no_other_command() -> None:
    """Help needs only the names and summaries of the commands."""
    package = "attnprof."
    needed = {f"{package}{name}" for name in ("cli", "core", "core.errors", "report")}
    needed.add(f"{package}report.streams")
    names = (
        "commands",
        "configurable",
        "error_handling",
        "lazy_commands",
        "plain_options",
        "settings",
        "signals",
        "variadic",
    )
    needed |= {f"{package}cli.{name}" for name in names}
    loaded = modules_of(command("--help"))
    assert {name for name in loaded if name.startswith(package)} == needed
    assert not loaded.intersection(HEAVY)
    loaded = modules_of(command("estimate", "--len", "512"))
    commands = {name for name in loaded if name.removeprefix(f"{package}cli.") in SUMMARIES}
    assert commands == {f"{package}cli.estimate"}
    for name in ("api.compare", "measure.audit", "measure.doctor", "guard"):
        assert f"{package}{name}" not in loaded


def test_summaries_in_the_list_are_the_first_lines_of_the_commands_help() -> None:
    from attnprof.cli.lazy_commands import LazyCommand

    for name, summary in SUMMARIES.items():
        command = LazyCommand(name, summary).load()
        assert (command.help or "").splitlines()[0] == summary


def test_every_kernel_is_described_without_torch() -> None:
    code = (
        "from attnprof import kernels, AttentionPattern, Workload\n"
        "for name in kernels.names():\n"
        "    k = kernels.find(name)\n"
        "    w = Workload(AttentionPattern.sliding(), 4096)\n"
        "    w = w.densified() if k.unsupported_reason(w) else w\n"
        "    assert k.peak_bytes(w) > 0 and k.executed_macs(w) > 0"
    )
    assert loaded_by(code) == set()


def test_public_names_exist_and_others_do_not() -> None:
    import attnprof

    for name in attnprof.__all__:
        assert getattr(attnprof, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        attnprof.nonsense  # noqa: B018
