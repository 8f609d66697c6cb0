"""Lengths from text, and quantities as text."""

from __future__ import annotations

import pytest

from attnprof.core.errors import UsageError
from attnprof.core.lengths import parse_lengths
from attnprof.core.units import (
    format_about,
    format_bytes,
    format_duration,
    format_macs,
    format_percent,
    format_ratio,
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
