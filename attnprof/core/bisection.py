"""The last value at which a predicate holds, by doubling and bisection."""

from __future__ import annotations

from collections.abc import Callable

Predicate = Callable[[int], "bool | None"]
"""True up to some value and false beyond it; None where that is not known."""


def bisect_last(holds: Predicate, holding: int, failing: int) -> int | None:
    """The last value at which a predicate holds.

    Args:
        holds: the predicate.
        holding: a value at which it holds.
        failing: a larger value at which it does not.

    Returns:
        None where the predicate is None at a value on the way.
    """
    while failing - holding > 1:
        middle = (holding + failing) // 2
        verdict = holds(middle)
        if verdict is None:
            return None
        holding, failing = (middle, failing) if verdict else (holding, middle)
    return holding


def search_last(holds: Predicate, first: int, limit: int) -> int | None:
    """The last value at which a predicate holds, from `first` on.

    Args:
        holds: the predicate.
        first: the smallest value of the search; its doublings are tried.
        limit: values beyond it are not tried.

    Returns:
        0 where it does not hold at `first`; None where it holds up to `limit`, or where it is None
        at a value on the way.
    """
    holding, failing = 0, first
    while verdict := holds(failing):
        holding, failing = failing, 2 * failing
        if failing > limit:
            return None
    if verdict is None:
        return None
    return bisect_last(holds, holding, failing) if holding else 0
