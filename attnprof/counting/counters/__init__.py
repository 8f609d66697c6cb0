"""The counters of `compare`, one module for each way of counting MACs.

A module whose name does not begin with `_` is a counter and has the attributes of `Counter`. Each
count gets a fresh call, since counters leave hooks on modules, and some patch torch while they run.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Protocol, cast

from attnprof.core.discovery import module_names
from attnprof.counting.call import Build

if TYPE_CHECKING:
    from attnprof.counting.reconciliation import Reconciliation

REFERENCE_COUNTER = "operator"
"""The counter that others are compared with: it counts every operator that torch dispatches."""


class Counter(Protocol):
    """The attributes of a counter module."""

    __name__: str
    quantity: str
    """The column for its counts."""

    def count(self, build: Build) -> int:
        """MACs of one call, made by `build`.

        Raises:
            MeasurementError: if the counter cannot count it; the message is the reason.
        """
        ...

    def explain(self, build: Build) -> Reconciliation:
        """What the counter must report by its rule, each difference from the reference by name."""
        ...


@cache
def names() -> tuple[str, ...]:
    """The names of all counters, which are those of their files; imports none of them."""
    return module_names(__path__)


@cache
def find(name: str) -> Counter:
    """The counter with this name, one of `names`."""
    return cast("Counter", importlib.import_module(f"{__name__}.{name}"))


def quantity(name: str) -> str:
    """The column for the counts of this counter; does not import it."""
    return f"{name}_macs"
