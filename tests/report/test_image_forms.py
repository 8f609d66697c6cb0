"""The format of a picture goes by the suffix of its path; what it shows, by `--chart`."""

from __future__ import annotations

from pathlib import Path

import pytest

import attnprof
from attnprof.core.errors import UsageError
from attnprof.report.image_forms import read_chart, read_image_form


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("a.png", "png"),
        ("a.svg", "svg"),
        ("a.PDF", "pdf"),
        ("costs", "png"),
        (".png", "png"),
        ("-", "png"),
        ("/dev/null", "png"),
        (None, "png"),
    ],
)
def test_the_suffix_decides(path: str | None, form: str) -> None:
    assert read_image_form("png", path) == form


def test_without_a_suffix_the_option_decides() -> None:
    assert read_image_form("svg", "costs") == "svg"
    assert read_image_form("svg", "costs.png") == "png"


@pytest.mark.parametrize("option", ["png", "svg"])
def test_other_suffixes_are_refused_before_any_work(option: str, tmp_path: Path) -> None:
    path = str(tmp_path / "costs.jpg")
    with pytest.raises(UsageError, match=r"costs\.jpg: must end in \.png, \.svg or \.pdf"):
        attnprof.estimate(len=64, **{option: path})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_chart_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="chart breakdwn: unknown; did you mean breakdown"):
        attnprof.estimate(len=64, chart="breakdwn")
    assert read_chart(None) == "growth"


def test_files_have_the_format_of_their_suffix(tmp_path: Path) -> None:
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for suffix, begin in begins.items():
        path = tmp_path / f"costs.{suffix}"
        attnprof.estimate(len=[64, 128], png=str(path), chart="breakdown")
        assert path.read_bytes().startswith(begin)
