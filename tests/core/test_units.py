"""Lengths from text, and quantities as text."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnprof.core.errors import UsageError
from attnprof.core.lengths import parse_lengths
from attnprof.core.units import (
    counted,
    format_about,
    format_bytes,
    format_duration,
    format_macs,
    format_percent,
    format_ratio,
    format_share,
    format_tokens,
)


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("512", [512]),
        ("4k", [4096]),
        ("4K", [4096]),
        ("1M", [1024 * 1024]),
        ("512:8192:x2", [512, 1024, 2048, 4096, 8192]),
        ("512:9000:x4", [512, 2048, 8192]),
        ("1k:4k:+1k", [1024, 2048, 3072, 4096]),
    ],
)
def test_lengths_are_parsed(text: str, lengths: list[int]) -> None:
    assert parse_lengths(text) == lengths


@pytest.mark.parametrize(
    "text",
    [
        "",
        "512,1024",
        "0",
        "-5",
        "abc",
        "1.5",
        "8192:512:x2",
        "512:8192:x1",
        "512:8192",
        "1:2:3",
        "1G",
        "٥",
        "5 6",
    ],
)
def test_invalid_lengths_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_lengths(text)
    assert raised.value.argument == "len"


@pytest.mark.parametrize(
    ("macs", "text"),
    [
        (0, "0 Mac"),
        (999, "999 Mac"),
        (905_969_664, "906.0 MMac"),
        (999_960_000, "1.000 GMac"),
        (999_500_000, "999.5 MMac"),
        (3_422_552_064, "3.423 GMac"),
        (33_017_561_088, "33.02 GMac"),
    ],
)
def test_macs_have_four_digits(macs: int, text: str) -> None:
    assert format_macs(macs) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1_648_361_472, "1.54 GiB"),
        (51_712_000, "49.3 MiB"),
        (1024**2 - 1, "1.00 MiB"),
        (1_048_100, "1.00 MiB"),
    ],
)
def test_bytes_have_three_digits(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (5, "5 ns"),
        (1_500, "1.50 µs"),
        (999_999, "1.00 ms"),
        (55_300_000, "55.3 ms"),
        (1_020_000_000, "1.02 s"),
        (3_600_000_000_000, "3,600 s"),
    ],
)
def test_times_have_three_digits(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text


def test_ratios_have_three_digits() -> None:
    assert [format_ratio(r) for r in (0.454, 9.996, 12.34, 1204.4)] == [
        "0.45x",
        "10.0x",
        "12.3x",
        "1,204x",
    ]


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (763.2, 157, "760"),
        (1153.4, 12, "1,153"),
        (1153.4, 25, "1,150"),
        (12_345.6, 5000, "12,000"),
        (763.2, 0, "763"),
    ],
)
def test_numbers_are_rounded_to_half_their_spread(value: float, spread: float, text: str) -> None:
    assert format_about(value, spread) == text


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (0.0, "0.0 %"),
        (0.008, "0.8 %"),
        (0.0994, "9.9 %"),
        (0.0996, "10 %"),
        (1.5, "150 %"),
        (15.0, "15.0x"),
    ],
)
def test_percentages_have_two_digits(part: float, text: str) -> None:
    assert format_percent(part) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (529, 1000, "52.9 %"),
        (0, 7, "0.0 %"),
        (7, 7, "100.0 %"),
        (1, 10**6, "< 0.1 %"),
        (-1, 10**6, "> −0.1 %"),
        (10**18 - 1, 10**18, "> 99.9 %"),
        (1_000_001, 10**6, "> 100.0 %"),
        (1003, 1000, "100.3 %"),
    ],
)
def test_a_share_is_nothing_or_all_only_where_it_is(part: int, whole: int, text: str) -> None:
    assert format_share(part, whole) == text


def test_a_small_ratio_keeps_two_digits() -> None:
    shown = [format_ratio(ratio) for ratio in (0.0949, 0.0951, 0.0049, 0.00000012, 0)]
    assert shown == ["0.095x", "0.10x", "0.0049x", "0.00000012x", "0x"]


def test_one_has_no_plural() -> None:
    assert [format_tokens(1), format_tokens(4096)] == ["1 token", "4,096 tokens"]
    assert [counted(n, "process", "processes") for n in (0, 1, 2)] == [
        "0 processes",
        "1 process",
        "2 processes",
    ]


_FACTORS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "E": 10**18,
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "PiB": 2**50,
    "ns": 1,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "x": 1,
    "%": Fraction(1, 100),
}


def shown_value(text: str) -> tuple[Fraction, Fraction]:
    """The number that a text shows, and half a unit of its last place."""
    match = re.fullmatch(r"(\d[\d,]*)(?:\.(\d+))? ?([A-Za-zµ%]*)", text)
    assert match, text
    whole, decimals, unit = match[1].replace(",", ""), match[2] or "", match[3]
    factor = Fraction(_FACTORS[unit])
    last_place = factor / 10 ** len(decimals)
    return Fraction(f"{whole}.{decimals or 0}") * factor, last_place / 2


def is_rounded(text: str, value: Fraction | int) -> bool:
    """Whether a text shows a value to within half a unit of its last place, and not as 0."""
    shown, tolerance = shown_value(text)
    # The binary fraction of a float may be on the other side of a tie.
    return abs(shown - value) <= tolerance * (1 + Fraction(1, 10**9)) and bool(shown) == bool(value)


@given(st.integers(0, 10**20))
def test_macs_bytes_and_times_are_shown_to_half_a_unit_of_the_last_place(amount: int) -> None:
    assert is_rounded(format_macs(amount, unit=""), amount)
    assert is_rounded(format_bytes(amount), amount)
    assert is_rounded(format_duration(amount), amount)


@given(st.fractions(Fraction(1, 10**6), 10**6, max_denominator=10**6))
def test_ratios_are_shown_to_half_a_unit_of_the_last_place(ratio: Fraction) -> None:
    assert is_rounded(format_ratio(float(ratio)), Fraction(float(ratio)))


@given(st.integers(0, 10**12), st.integers(1, 10**12))
def test_shares_are_rounded_or_bounded(part: int, whole: int) -> None:
    text, exact = format_share(part, whole), Fraction(part, whole)
    if text.startswith("<"):
        assert text == "< 0.1 %"
        assert 0 < exact < Fraction(1, 1000)
    elif text.startswith(">"):
        bound = shown_value(text.removeprefix("> "))[0]
        assert bound < exact < bound + Fraction(1, 1000)
    else:
        assert is_rounded(text, exact)
        assert (text == "100.0 %") == (part == whole)


@given(st.floats(0, 100))
def test_percentages_are_rounded_or_bounded_or_ratios(part: float) -> None:
    text = format_percent(part)
    if text.startswith("<"):
        assert 0 < part < 0.001
    else:
        assert is_rounded(text, Fraction(part))
        assert text.endswith("x") == (part >= 9.995)


@given(st.floats(0.5, 10**9, exclude_min=True), st.floats(0, 10**9))
def test_a_number_with_a_spread_is_never_rounded_to_nothing(value: float, spread: float) -> None:
    assert int(format_about(value, spread).replace(",", "")) > 0
