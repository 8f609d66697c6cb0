"""One module for each way of counting MACs.

A module whose name does not begin with `_` is a counter: it has the attributes of `Counter`. Each
count gets a fresh call, since counters leave hooks on modules, and some patch torch while they run.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Protocol, cast

from attnprof.counting.call import Build

if TYPE_CHECKING:
    from attnprof.counting.reconciliation import Reconciliation

REFERENCE_COUNTER = "operator"
"""The counter that the others are compared with: it counts every operator that torch dispatches."""


class Counter(Protocol):
    """What a counter module has."""

    __name__: str
    quantity: str
    """The column that the count goes to."""

    def count(self, build: Build) -> int:
        """MACs of one call that `build` makes.

        Raises:
            MeasurementError: with the reason, when the counter cannot count it.
        """
        ...

    def explain(self, build: Build) -> Reconciliation:
        """What the counter must have counted, by its rule, each difference to the truth by name."""
        ...


@cache
def names() -> tuple[str, ...]:
    """The counters there are, by the names of their files; none of them is imported."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(name for name in modules if not name.startswith("_"))


@cache
def find(name: str) -> Counter:
    """The counter of that name, one of `names`."""
    return cast("Counter", importlib.import_module(f"{__name__}.{name}"))


def quantity(name: str) -> str:
    """The column that the counts of that counter go to, which is not imported."""
    return f"{name}_macs"
