"""The measuring machine as facts for readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from attnprof.core.result_table import ResultTable
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


def facts_of(table: ResultTable) -> Iterator[Fact]:
    """The machine, its software and when the run ended; nothing where nothing was measured."""
    known = table.environment
    if known is None:
        return
    for key, name in _NAMES.items():
        value = known.get(key)
        if value is not None:
            yield Fact(name, _text(value, key))
    for package, version in cast("Mapping[str, str]", known.get("packages", {})).items():
        yield Fact(package, version)
    if table.finished_at:
        yield Fact("Finished", table.finished_at.replace("T", " "))


def _text(value: object, key: str) -> str:
    return format_bytes(value) if key == "memory_bytes" and isinstance(value, int) else str(value)
