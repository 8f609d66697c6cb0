"""Limits of contracts: growth laws, allowances and budgets."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction

import pytest

from attnprof.core.growth.laws import GrowthLaw, name_law, parse_law
from attnprof.guard.contract import parse_allowance, parse_budget


def test_laws_are_ordered_by_how_fast_they_grow() -> None:
    words = ["constant", "n^0.5", "linear", "n log n", "n log² n", "n^1.2", "n sqrt n", "quadratic"]
    laws = [parse_law(word) for word in words]
    assert laws == sorted(laws)
    assert len(set(laws)) == len(laws)
    for shorter, longer in itertools.pairwise(laws):
        assert longer.allows(shorter, 2**20)
        assert not shorter.allows(longer, 2**20)


@pytest.mark.parametrize(
    "word", ["constant", "linear", "n log n", "n sqrt n", "quadratic", "n^1.5"]
)
def test_a_law_prints_as_text_that_reads_back_as_the_same_law(word: str) -> None:
    assert parse_law(str(parse_law(word))) == parse_law(word)


def test_laws_named_from_doublings_can_be_read_as_limits() -> None:
    costs = {
        "n": lambda n: 7 * n + 3,
        "n·log n": lambda n: n * n.bit_length() * 5 + 9 * n,
        "n·sqrt n": lambda n: int(n**1.5) + 11 * n,
        "n²": lambda n: n * n + 100 * n,
    }
    for name, cost in costs.items():
        law = name_law([(2**k, cost(2**k)) for k in range(8, 21)])
        assert law.name == name
        assert parse_law(law.name) == parse_law(name.replace("n²", "quadratic"))


@pytest.mark.parametrize("word", ["cubicish", "n^", "n^x", "n^-1", "n^99", "log", "n log"])
def test_a_text_that_is_no_law_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)):
        parse_law(word)


def test_an_exponent_without_a_name_is_allowed_within_the_effect_of_blocks() -> None:
    assert parse_law("n^1.5").allows(GrowthLaw(1.52), 2**20)
    assert not parse_law("n^1.5").allows(GrowthLaw(1.54), 2**20)
    assert not parse_law("linear").allows(parse_law("n log n"), 2**20)
    # n log n looks like a power a little above 1 at any length.
    assert parse_law("n log n").allows(GrowthLaw(1.07), 2**20)
    assert not parse_law("n log n").allows(GrowthLaw(1.12), 2**20)


def test_allowances_are_exact() -> None:
    one_percent = parse_allowance("+1%")
    assert one_percent.allows(1000, 1010)
    assert not one_percent.allows(1000, 1011)
    assert one_percent.allows(1000, 1)
    assert not parse_allowance("±1%").allows(1000, 989)
    assert parse_allowance("±1%").allows(1000, 990)
    assert parse_allowance("+0.1%").part == Fraction(1, 1000)
    assert not parse_allowance("+0%").allows(10**18, 10**18 + 1)
    assert parse_allowance("any").allows(1, 10**9)
    assert not parse_allowance("+1%").allows(0, 1)


@pytest.mark.parametrize("word", ["1%", "-1%", "+1", "1", "+x%", "+ %"])
def test_a_text_that_is_no_allowance_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)):
        parse_allowance(word)


def test_budgets_have_the_units_of_their_quantity() -> None:
    assert parse_budget("peak_bytes", "512 MiB") == 512 * 2**20
    assert parse_budget("peak_bytes", "1.5 GB") == 1_500_000_000
    assert parse_budget("peak_bytes", 1024) == 1024
    assert parse_budget("macs", "3 GMac") == parse_budget("macs", "3GMACs") == 3 * 10**9
    assert parse_budget("params", "110 M") == parse_budget("params", "110 MParams") == 110 * 10**6
    for quantity, wrong in (
        ("peak_bytes", "512"),
        ("peak_bytes", "3 GMac"),
        ("macs", "3 MiB"),
        ("macs", "0 GMac"),
        ("macs", True),
        ("macs", 1.5),
        ("params", -1),
    ):
        with pytest.raises(ValueError, match=re.escape(str(wrong)) if wrong != "512" else "512"):
            parse_budget(quantity, wrong)  # pyright: ignore[reportArgumentType]
