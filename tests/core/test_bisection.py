"""Doubling and bisection against a search through all values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from attnprof.core.bisection import bisect_last, search_last


@given(st.integers(1, 50), st.integers(0, 10**6))
def test_search_finds_the_last_value_that_holds(first: int, last: int) -> None:
    result = search_last(lambda value: value <= last, first, 10**7)
    assert result == (0 if last < first else last)


@given(st.integers(-100, 100), st.integers(1, 300), st.data())
def test_bisection_ends_at_the_last_value_that_holds(
    low: int, width: int, data: st.DataObject
) -> None:
    last = data.draw(st.integers(low, low + width - 1))
    assert bisect_last(lambda value: value <= last, low, low + width) == last


def test_nothing_is_found_if_it_holds_up_to_the_limit_or_is_unknown() -> None:
    assert search_last(lambda value: True, 1, 1000) is None
    assert search_last(lambda value: None if value > 8 else True, 1, 1000) is None
    assert (
        search_last(lambda value: value <= 9 if value in (1, 2, 4, 8, 16) else None, 1, 100) is None
    )
    assert search_last(lambda value: None, 1, 1000) is None
    assert bisect_last(lambda value: None, 0, 9) is None
