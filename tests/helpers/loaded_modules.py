"""What a fresh process has loaded after running code."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "transformers", "ptflops", "pandas", "matplotlib", "numpy", "psutil", "pydantic")


def modules_of(code: str) -> set[str]:
    """All modules that a fresh process has loaded after running code."""
    report = "import sys; print('LOADED', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


def loaded_by(code: str) -> set[str]:
    """Heavy packages that a fresh process has loaded after running code."""
    return modules_of(code).intersection(HEAVY)
