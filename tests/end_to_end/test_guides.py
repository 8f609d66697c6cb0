"""The guides' commands run, and what needs no clock prints what the guide shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from timeouts import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
GUIDES = (
    "tutorial_corrected",
    "choosing_a_window",
    "when_longformer_pays",
    "own_kernel",
    "model_window",
    "sharing_results",
    "any_mask",
    "decoding",
)
"""Guides whose commands are all run; those on the guard and on Longformer have tests of their own
in `test_examples.py`."""

SHOWN = re.compile(r"^```sh\n(\.venv/bin/[^\n]+)\n```$(?:\n\n^```\n(.*?)^```$)?", re.M | re.S)

MEASURED = re.compile(r"attnprof (compare|report)")
"""Commands whose output depends on the machine. Those that measure are not run here: their options
are parsed in `test_examples.py`, and `attnprof compare` has tests of its own."""

COMMANDS = [
    pytest.param(guide, command, output, id=f"{guide}-{number}")
    for guide in GUIDES
    for number, (command, output) in enumerate(
        SHOWN.findall((ROOT / "examples" / f"{guide}.md").read_text())
    )
    if "attnprof compare" not in command
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples, where commands may write their files."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, arguments = command.removeprefix(".venv/bin/").split(" ", 1)
    # predicted peaks have a buffer for each thread
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        f"{BIN / program} {arguments}",
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        env=environment,
    )


@pytest.mark.parametrize(("guide", "command", "output"), COMMANDS)
def test_commands_of_the_guides_run_and_print_what_they_show(
    guide: str, command: str, output: str, checkout: Path
) -> None:
    if command.endswith(" report costs.json") and not (checkout / "costs.json").exists():
        estimate = "attnprof estimate --len 512 --json costs.json"
        assert run(estimate, checkout).returncode == 0
    if (
        "small/config.json" in command and not (checkout / "small").exists()
    ):  # made by a command before it, maybe in another process
        for _, earlier, _ in (parameter.values for parameter in COMMANDS):
            if "save_pretrained('small')" in str(earlier):
                assert run(str(earlier), checkout).returncode == 0
    done = run(command, checkout)
    assert done.returncode == 0, done.stderr
    if not MEASURED.search(command):
        assert done.stdout == output or (not output and "--png" in command)
    for written in re.findall(r"--(?:png|html|json) (\S+)", command):
        assert (checkout / written).stat().st_size > 0


def test_every_guide_has_commands_and_its_pictures() -> None:
    for guide in GUIDES:
        text = (ROOT / "examples" / f"{guide}.md").read_text()
        assert SHOWN.search(text)
        pictures = re.findall(r"\]\((\w+\.png)\)", text)
        assert pictures or "```\n" in text
        for picture in pictures:
            assert f"--png examples/{picture}" in text
