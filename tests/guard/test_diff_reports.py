"""The formats of `guard diff`, on literal differences."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from guard_contracts import broken

from attnprof.core.intervals import Interval
from attnprof.guard.diff import Diff, Difference
from attnprof.guard.measurement import Cell
from attnprof.guard.paired_timing import TimeChange, change_of
from attnprof.guard.reports import DIFF_FORMATS, FORMATS, diff_markdown, diff_text
from attnprof.guard.results import Result
from attnprof.guard.revisions import Revision

BASE = Revision("main", "1a2b3c4d5e", "f00")
HEAD = Revision("working tree", "5e6f7a8b9c")
BEFORE = {512: Cell(1000, 10, 4096), 1024: Cell(2000, 10, 8192)}
AFTER = {512: Cell(1500, 10, 4096), 1024: Cell(3000, 10, 8192)}


def unchanged(index: int) -> Difference:
    result = Result(f"same{index}", "pyproject.toml", 1, facts="MACs linear")
    return Difference(result, "unchanged", base=BEFORE, head=BEFORE)


def changed(index: int = 0) -> Difference:
    result = Result(f"b{index}", "pyproject.toml", 3, causes=("a cause",), notes=("a note",))
    changes = ("MACs at 512 tokens: 1.000 KMac → 1.500 KMac  +50 %",)
    where = ("layer.0.key aten.addmm: 1.000 KMac → 1.500 KMac",)
    return Difference(result, "changed", changes, where, BEFORE, AFTER)


def failing(index: int = 0) -> Difference:
    return Difference(broken(index), "changed", ("not shown",), ("not shown",), BEFORE, AFTER)


def removed(name: str = "old") -> Difference:
    result = Result(name, "pyproject.toml", 1, notes=("has a contract at main, and none here",))
    return Difference(result, "removed")


def diff_of(*differences: Difference, notes: tuple[str, ...] = ()) -> Diff:
    return Diff(BASE, HEAD, differences, notes, seconds=1.25)


EVERYTHING = diff_of(failing(), changed(), unchanged(0), removed(), notes=("a remark",))


def test_the_text_has_a_line_for_each_contract_then_what_changed_and_where() -> None:
    assert diff_text.render(EVERYTHING) == (
        "main (1a2b3c4) → working tree\n"
        "    a remark\n"
        "\n"
        "broken        a0\n"
        "changed       b0\n"
        "unchanged     same0  MACs linear\n"
        "removed       old\n"
        "\n"
        "pyproject.toml:7: a0: MACs rose at every length, by up to 50 % (allowed: +0%)\n"
        "    512 tokens   1.000 KMac → 1.500 KMac   +50 %\n"
        "    where      layer.0-11.key aten.addmm: 0 Mac → 500 Mac\n"
        "    likely     a cause in two lines, 100%\n"
        "    to accept  attnprof guard update a\n"
        "\n"
        "pyproject.toml:3: b0: changed, as allowed\n"
        "    MACs at 512 tokens: 1.000 KMac → 1.500 KMac  +50 %\n"
        "    where      layer.0.key aten.addmm: 1.000 KMac → 1.500 KMac\n"
        "    likely     a cause\n"
        "\n"
        "note: b0: a note\n"
        "\n"
        "note: old: has a contract at main, and none here\n"
        "\n"
        "4 contracts: 1 broken, 1 changed, 1 removed, 1 unchanged, in 1.2 s\n"
    )


def test_targets_of_the_command_line_have_a_table() -> None:
    target = replace(changed(), result=Result("net:Net", ".", 0))
    lines = diff_text.render(replace(diff_of(target), has_contracts=False)).splitlines()
    assert [line.split("  ") for line in lines if "→" in line and "KMac" in line]
    assert "net:Net: changed" in lines
    table = [line.split() for line in lines[lines.index("net:Net: changed") + 1 :][:3]]
    assert table[0] == ["tokens", "MACs", "parameters", "peak", "bytes"]
    assert table[1][:7] == ["512", "1.000", "KMac", "→", "1.500", "KMac", "+50"]
    assert lines[-1].startswith("1 target: 1 changed")


def test_the_comment_begins_with_its_marker_and_the_verdict() -> None:
    lines = diff_markdown.render(EVERYTHING).splitlines()
    assert lines[0] == "<!-- attnprof guard diff -->"
    assert lines[1] == (
        "**attnprof guard diff**: ❌ 4 contracts: 1 broken, 1 changed, 1 removed, 1 unchanged "
        "(main (1a2b3c4) → working tree)"
    )
    assert "- a remark" in lines
    (row,) = (line for line in lines if line.startswith("| a0 | ❌ broken |"))
    assert "<br>where: layer.0-11.key aten.addmm" in row
    assert "<br>likely: a cause in two lines, 100%" in row
    details = lines.index("<details><summary>Costs at each length</summary>")
    assert "| a0 | 512 | 1.000 KMac → 1.500 KMac  +50 % | 10 | 4.00 KiB |" in lines[details:]
    assert lines[-1] == "</details>"


@pytest.mark.parametrize("count", [1, 5, 9, 10, 11, 40, 400])
@pytest.mark.parametrize("notes", [0, 3, 9])
def test_the_comment_has_at_most_40_lines(count: int, notes: int) -> None:
    remarks = tuple(f"remark {index}" for index in range(notes))
    many = [*map(unchanged, range(count)), *map(failing, range(count)), *map(changed, range(count))]
    lines = diff_markdown.render(diff_of(*many, removed(), notes=remarks)).splitlines()
    assert len(lines) <= diff_markdown.MAX_LINES == 40
    assert "| a0 | ❌ broken |" in "\n".join(lines)
    assert max(map(len, lines)) < 4000
    if count == 400:
        assert "| and 1,191 more | 390 broken, 400 changed, 1 removed, 400 unchanged | |" in lines


def test_a_comment_shows_names_as_they_are_and_mentions_nobody() -> None:
    base = replace(BASE, name="@user/<img>|`x`\n## head")
    text = diff_markdown.render(Diff(base, HEAD, (unchanged(0),)))
    assert "&#64;user/\\<img\\>\\|\\`x\\` ## head" in text
    assert "@" not in text


def test_json_has_both_revisions_and_integers() -> None:
    content = json.loads(DIFF_FORMATS["json"](EVERYTHING))
    assert content["base"] == {"name": "main", "commit": "1a2b3c4d5e", "is_working_tree": False}
    assert content["head"]["is_working_tree"]
    assert content["exit_code"] == 1
    assert [each["verdict"] for each in content["contracts"]] == [
        *("broken", "changed", "unchanged", "removed")
    ]
    assert content["contracts"][1]["head"]["1024"] == {
        "macs": 3000,
        "params": 10,
        "peak_bytes": 8192,
    }


def test_annotations_and_junit_tell_what_changed() -> None:
    annotations = DIFF_FORMATS["github"](EVERYTHING).splitlines()
    assert annotations[0].startswith(
        "::error file=pyproject.toml,line=7,title=attnprof guard%3A a0"
    )
    assert any("MACs at 512 tokens" in each and "::notice" in each for each in annotations)
    root = ET.fromstring(DIFF_FORMATS["junit"](EVERYTHING))
    assert (root.get("tests"), root.get("failures")) == ("4", "1")
    assert set(DIFF_FORMATS) == set(FORMATS)


def test_a_target_without_a_file_has_an_annotation_without_a_line() -> None:
    result = Result("net:Net", ".", 0, problem="cannot be measured")
    text = DIFF_FORMATS["github"](diff_of(Difference(result, "unchanged")))
    assert text == "::error title=attnprof guard%3A net%3ANet::cannot be measured\n"


def test_times_are_in_words_and_in_json() -> None:
    slower = change_of(512, [100] * 16, [150] * 16)
    assert slower.outcome == "slower"
    assert str(slower) == "1.50x the base's time at 512 tokens (1.50x to 1.50x, 16 rounds)"
    assert change_of(512, [100] * 16, [80] * 16).outcome == "faster"
    assert change_of(512, [100] * 16, [80] * 16, "a busy machine").outcome == "undecided"
    timed = replace(unchanged(0), time=TimeChange(512, Interval(1.5, 1.4, 1.6), 9, "slower"))
    (contract,) = json.loads(DIFF_FORMATS["json"](diff_of(timed)))["contracts"]
    assert contract["time"]["ratio"] == {"median": 1.5, "low": 1.4, "high": 1.6}
