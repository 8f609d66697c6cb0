"""The command line as a user runs it, and its rows."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

from timeouts import PATIENCE_SECONDS

ATTNPROF = str(Path(sys.executable).parent / "attnprof")

SMALL = ("--hidden-size", "32", "--num-heads", "4", "--window", "16", "--device", "cpu")

QUICK = (*SMALL, "--max-seconds", "0.05")

FEW = ("--kernel", "longformer-masked", "longformer-banded")
"""Kernels without transformers, whose import takes seconds."""

PROGRESS_ENDS = (" s so far)", " left)")


def attnprof(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ATTNPROF, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        env={**os.environ, **environment},
    )


def messages_of(stderr: str) -> list[str]:
    """The lines on stderr, without those on the progress of a slow machine."""
    return [line for line in stderr.splitlines() if not line.endswith(PROGRESS_ENDS)]


def lengths_of(text: str) -> list[int]:
    return [int(row["seq_len"]) for row in csv.DictReader(io.StringIO(text))]


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text()))) if path.exists() else []
