"""The last value at which a predicate holds, by doubling and bisection."""

from __future__ import annotations

from collections.abc import Callable

Predicate = Callable[[int], "bool | None"]
"""True up to some value and false beyond it; None where the answer is unknown."""


def bisect_last(holds: Predicate, holding: int, failing: int) -> int | None:
    """The last value at which a predicate holds, between two known values.

    Args:
        holds: the predicate.
        holding: a value at which it holds.
        failing: a larger value at which it does not.

    Returns:
        None if the predicate is None at a value that the search tries.
    """
    while failing - holding > 1:
        middle = (holding + failing) // 2
        verdict = holds(middle)
        if verdict is None:
            return None
        holding, failing = (middle, failing) if verdict else (holding, middle)
    return holding


def search_last(holds: Predicate, first: int, limit: int) -> int | None:
    """The last value at which a predicate holds, searched from `first` upwards.

    Args:
        holds: the predicate.
        first: the smallest value to try; the search continues at its doublings.
        limit: values beyond it are not tried.

    Returns:
        0 if it does not hold at `first`; None if it holds up to `limit`, or if it is None at a
        value that the search tries.
    """
    holding, failing = 0, first
    while verdict := holds(failing):
        holding, failing = failing, 2 * failing
        if failing > limit:
            return None
    if verdict is None:
        return None
    return bisect_last(holds, holding, failing) if holding else 0
