"""Names that are shortened stay different, and lists stay short."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from attnprof.report.phrases import join_lengths, join_some, shorten_lines, shorten_names


@given(st.lists(st.text("ab:.", min_size=1, max_size=40), min_size=1, max_size=8, unique=True))
def test_shortened_names_are_all_different(names: list[str]) -> None:
    short = shorten_names(names, 12)
    assert len(set(short.values())) == len(names)
    assert all(short[name] == name for name in names if len(name) <= 12)
    is_shortened = any(short[name] != name for name in names)
    assert not is_shortened or max(map(len, short.values())) <= 12


def test_a_name_is_shortened_in_its_middle() -> None:
    (short,) = shorten_names(["package.module:AttentionLayer"], 16).values()
    assert short == "package…ionLayer"


def test_neighbouring_lengths_are_a_range() -> None:
    tested = [64, 128, 256, 512, 1024]
    assert join_lengths([64, 128, 256], tested) == "64 to 256"
    assert join_lengths([64, 128, 512], tested) == "64, 128 and 512"
    assert join_lengths([64, 256, 512, 1024], tested) == "64 and 256 to 1,024"


def test_long_lists_are_counted_but_for_their_beginning() -> None:
    assert join_some(list("abcd")) == "a, b, c and d"
    assert join_some(list("abcde")) == "a, b, c and 2 more"
    assert shorten_lines("a longer sentence, of words", 20, 1) == "a longer sentence …"
