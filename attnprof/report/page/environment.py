"""The measuring machine as facts for readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attnprof.core.units import format_bytes
from attnprof.report.page.content import Fact

_NAMES = {
    "processor": "Processor",
    "cores": "Cores",
    "physical_cores": "Physical cores",
    "threads": "Threads",
    "cpu_capability": "Instruction set",
    "memory_bytes": "Memory",
    "gpu": "GPU",
    "driver": "GPU driver",
    "cuda": "CUDA",
    "blas": "Matrix products",
    "system": "System",
    "python": "Python",
}
"""Keys of an environment, in the order of the page."""


def environment_facts(environment: Mapping[str, Any] | None) -> Iterator[Fact]:
    """The machine, its software and the versions of packages; nothing where nothing was measured.

    Args:
        environment: `ResultTable.environment`.
    """
    if environment is None:
        return
    for key, name in _NAMES.items():
        value = environment.get(key)
        if value is not None:
            yield Fact(name, format_bytes(value) if key == "memory_bytes" else str(value))
    for package, version in environment.get("packages", {}).items():
        yield Fact(package, version)
