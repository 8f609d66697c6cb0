"""Reports of a check: text, JSON, JUnit, GitHub annotations and Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from guard_contracts import broken

from attnprof.guard.check import Check
from attnprof.guard.reports import FORMATS, github, text
from attnprof.guard.results import Result

RESULTS = (
    broken(),
    Result("kept", "pyproject.toml", 3, facts="MACs linear"),
    Result("better", "pyproject.toml", 4, notes=("MACs fell by up to 5 %",)),
    Result("near", "pyproject.toml", 5, notes=("time is undecided",), is_undecided=True),
    Result("wrong", "pyproject.toml", 6, problem="target: no", is_misconfigured=True),
    Result("failed", "pyproject.toml", 8, problem="at 512 tokens: ValueError: <no> & \x00"),
)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_names_every_contract_with_something_to_report(name: str) -> None:
    report = FORMATS[name](Check(RESULTS))
    for result in RESULTS:
        if result.status != "kept" or result.notes:
            assert result.name in report
    assert "attnprof guard update a" in report
    assert "layer.0-11.key" in report


def test_text_fits_its_width_and_aligns() -> None:
    report = text.render(Check(RESULTS, seconds=1.25), width=60)
    assert max(map(len, report.splitlines())) <= 60
    assert "    512 tokens   1.000 KMac → 1.500 KMac   +50 %" in report.splitlines()
    assert " ".join(report.split()).endswith(
        "6 contracts: 1 broken, 1 misconfigured, 1 not measured, 1 undecided, 2 kept, in 1.2 s"
    )


def test_json_has_statuses_exit_code_and_steps() -> None:
    content = json.loads(FORMATS["json"](Check(RESULTS)))
    assert content["exit_code"] == 1
    assert [c["status"] for c in content["contracts"]] == [
        *("broken", "kept", "kept", "undecided", "misconfigured", "failed")
    ]
    assert content["contracts"][0]["breaches"][0]["steps"] == [
        {"seq_len": 512, "was": 1000, "now": 1500}
    ]


def test_junit_counts_failures_and_errors_and_is_xml() -> None:
    root = ET.fromstring(FORMATS["junit"](Check(RESULTS)))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("6", "1", "2")
    strict = ET.fromstring(FORMATS["junit"](Check(RESULTS, is_strict=True)))
    assert strict[0].get("failures") == "2"
    assert [case.get("name") for case in suite] == [result.name for result in RESULTS]


def test_github_escapes_and_shows_nine_annotations_and_the_number_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    (first, *_) = github.render(Check(RESULTS)).splitlines()
    assert first.startswith(
        "::error file=pyproject.toml,line=7,title=attnprof guard%3A a0::MACs rose"
    )
    assert "%0Alikely: a cause%0Ain two lines, 100%25%0A" in first
    many = Check(tuple(broken(index) for index in range(30)))
    lines = github.render(many).splitlines()
    assert len(lines) == 10
    assert lines[-1] == "::error title=attnprof guard::21 more: see the log"
    exactly = github.render(Check(tuple(broken(index) for index in range(9)))).splitlines()
    assert len(exactly) == 9
    odd = github.render(Check((broken(file="a,b:c%.toml"),)))
    assert "file=a%2Cb%3Ac%25.toml,line" in odd


def test_github_names_files_from_the_root_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert "file=sub/pyproject.toml," in github.render(Check((broken(),)))


def test_markdown_escapes_its_special_characters() -> None:
    name = "layer_norm_x*y|z<b>"
    report = FORMATS["markdown"](Check((Result(name, "a.toml", 1, facts="x"),)))
    assert r"layer\_norm\_x\*y\|z\<b\>" in report
