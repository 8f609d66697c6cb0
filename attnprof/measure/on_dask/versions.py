"""The versions that decide whether two processes measure the same."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path

from attnprof.measure import environment
from attnprof.measure.on_dask.messages import Versions

_PACKAGES = ("attnprof", "torch", "transformers", "ptflops", "numpy")


@cache
def versions() -> Versions:
    """Those of this process."""
    return Versions(
        python=platform.python_version(),
        packages=environment.versions(*_PACKAGES),
        source=_source_digest(),
    )


def _source_digest() -> str:
    """SHA-256 of the source files of attnprof, whatever folder they are in."""
    folder = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
