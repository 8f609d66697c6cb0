"""Other tools that count MACs, one module for each; they come with `attnprof[audit]`.

A module whose name does not begin with `_` is a counter, named as its package; it has the
attributes of `Counter` in `attnprof.counting.counters`. Some crash on some modules, some leave
torch patched: they run in processes of their own (`attnprof.isolation.fork_server`).
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from functools import cache
from typing import cast

from attnprof.counting.counters import Counter


@cache
def names() -> tuple[str, ...]:
    """The peers there are, by the names of their files; none of them is imported."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(name for name in modules if not name.startswith("_"))


def is_installed(name: str) -> bool:
    """Whether the package of that peer is there."""
    return importlib.util.find_spec(name) is not None


@cache
def find(name: str) -> Counter:
    """The peer of that name, one of `names`."""
    return cast("Counter", importlib.import_module(f"{__name__}.{name}"))
