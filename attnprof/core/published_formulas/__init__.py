"""Cost formulas that papers and training frameworks publish, one file each.

A file has what `PublishedFormula` lists: the published expression, evaluated exactly, and why it
differs from the MACs that the pattern needs, each difference computed on its own. Files whose names
begin with `_` are shared. Only the formulas that are asked for are imported.
"""

from __future__ import annotations

import importlib
from fractions import Fraction
from functools import cache
from typing import Protocol, cast

from attnprof.core.discovery import module_names
from attnprof.core.published_formulas._differences import Differences
from attnprof.core.published_formulas._sizes import ModelSizes
from attnprof.core.workload import Workload


class PublishedFormula(Protocol):
    """The attributes of a formula's module."""

    title: str
    """Who publishes it."""

    expression: str
    """The formula as published, in short."""

    source: str
    """Paper and section, or repository, file and function."""

    def flops(self, sizes: ModelSizes) -> Fraction:
        """FLOPs of one call by the formula: forward, and in training backward too."""
        ...

    def differences(self, workload: Workload, sizes: ModelSizes) -> Differences:
        """MACs that the formula adds to the useful ones of the call or leaves out, by name."""
        ...


def names() -> tuple[str, ...]:
    """Names of the formulas, from the names of their files."""
    return tuple(name.replace("_", "-") for name in module_names(__path__))


@cache
def find(name: str) -> PublishedFormula:
    """The formula of that name, one of `names`."""
    module = f"{__name__}.{name.replace('-', '_')}"
    return cast("PublishedFormula", importlib.import_module(module))


__all__ = ["Differences", "ModelSizes", "PublishedFormula", "find", "names"]
