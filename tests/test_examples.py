"""The examples run, and print the numbers that the README tells."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from attnprof import LongformerSelfAttention

ROOT = Path(__file__).parent.parent
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
