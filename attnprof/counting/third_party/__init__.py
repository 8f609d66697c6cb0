"""Other tools that count MACs, one module for each; they come with `attnprof[audit]`.

A module whose name does not begin with `_` is a counter, named like its package, and has the
attributes of `Counter` in `attnprof.counting.counters`. Some crash on some modules and some leave
torch patched, so they run in processes of their own (`attnprof.isolation.fork_server`).
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from typing import cast

from attnprof.core.discovery import module_names
from attnprof.counting.counters import Counter


@cache
def names() -> tuple[str, ...]:
    """The names of all tools, which are those of their files; imports none of them."""
    return module_names(__path__)


def is_installed(name: str) -> bool:
    """Whether the package of this tool is installed."""
    return importlib.util.find_spec(name) is not None


@cache
def find(name: str) -> Counter:
    """The counter with this name, one of `names`."""
    return cast("Counter", importlib.import_module(f"{__name__}.{name}"))
