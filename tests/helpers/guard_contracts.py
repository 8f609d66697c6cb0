"""Contracts, a command line and a broken result that several tests of the guard share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from guard_project import contract
from timeouts import PATIENCE_SECONDS

from attnprof.guard.results import Breach, Result, Step

ATTNPROF = str(Path(sys.executable).parent / "attnprof")

SDPA = contract("sdpa", "bert-sdpa", [256, 512])

EAGER = contract("eager", "bert-eager", [256, 512])


def attnprof(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ATTNPROF, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        cwd=cwd,
        env={**os.environ, **environment},
    )


def broken(index: int = 0, file: str = "pyproject.toml") -> Result:
    breach = Breach(
        "macs",
        "MACs rose at every length, by up to 50 %",
        "macs",
        "+0%",
        (Step(512, 1000, 1500),),
        ("layer.0-11.key aten.addmm: 0 Mac → 500 Mac",),
        ("attnprof guard update a",),
    )
    return Result(f"a{index}", file, 7, (breach,), ("a cause\nin two lines, 100%",))
