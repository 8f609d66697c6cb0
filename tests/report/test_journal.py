"""The journal of a run: what it keeps, what it gives back, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from journals import KEY, WANTED, cases, journal, quantities, record
from workloads import groups_by_length

import attnprof
from attnprof.core.errors import UsageError
from attnprof.core.record_lines import record_line
from attnprof.core.records import CASE, Record
from attnprof.report.journal_format import RunFingerprint


def write(path: Path, *records: Record, key: RunFingerprint = KEY) -> None:
    one = journal(path, key=key)
    for each in records:
        one.add(each)
    one.close()


def test_finished_cases_come_back_whole_and_others_without_their_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    first, second, third, fourth = cases()
    write(
        path,
        *[record(first, quantity) for quantity in (*WANTED, CASE)],
        record(second, "operator_macs"),
        record(third, "operator_macs"),
        record(third, CASE, None, "error"),
        record(fourth, CASE, None, "skipped"),
    )
    assert quantities(path) == [[*WANTED, CASE], ["operator_macs"], ["operator_macs", CASE], []]
    # More is wanted than was measured: the first is not finished, nor paired with others.
    more = [*WANTED, "peak_bytes"]
    assert quantities(path, wanted=more)[0] == ["operator_macs"]


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    path, case = tmp_path / "a.jsonl", cases()[0]
    kept = Record(case.kernel, case.workload, "operator_macs", None, "error", "why: ≈ \n “no”")
    write(path, kept, record(case, "peak_bytes", 2**60))
    one = journal(path)
    assert one.resumable(groups_by_length(cases()), WANTED)[case] == [
        kept,
        record(case, "peak_bytes", 2**60),
    ]
    one.close()


def test_what_was_read_is_not_written_again(tmp_path: Path) -> None:
    path, case = tmp_path / "a.jsonl", cases()[0]
    write(path, record(case, "operator_macs"))
    one = journal(path)
    known = one.resumable(groups_by_length(cases()), WANTED)[case]
    before = path.read_text()
    for each in known:
        one.add(each)
    one.add(record(case, "peak_bytes"))
    one.close()
    (line,) = path.read_text()[len(before) :].splitlines()
    assert json.loads(line)["quantity"] == "peak_bytes"


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, machine={"processor": "another", "packages": {"torch": "2"}}),
        replace(KEY, machine={"processor": "one", "packages": {"torch": "3"}}),
        replace(KEY, sources={"bert-sdpa": "changed", "longformer-hf": "changed"}),
    ],
)
def test_records_of_other_machines_versions_and_sources_do_not_stand(
    tmp_path: Path, other: RunFingerprint
) -> None:
    path, case = tmp_path / "a.jsonl", cases()[0]
    write(path, record(case, "operator_macs"), key=other)
    assert quantities(path) == [[], [], [], []]
    assert quantities(path, key=other)[0] == ["operator_macs"]


def test_a_half_line_of_a_killed_run_is_cut_off(tmp_path: Path) -> None:
    path, case = tmp_path / "a.jsonl", cases()[0]
    write(path, record(case, "operator_macs"))
    with path.open("a") as file:
        file.write('{"kernel": "bert-s')
    write(path, record(case, "peak_bytes"))
    assert quantities(path)[0] == ["operator_macs", "peak_bytes"]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_an_incomplete_first_line_is_not_yet_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"attnprof_jour')
    with pytest.raises(UsageError, match="has other content"):
        journal(path)
    path.write_text('{"attnprof_journal": 1, "mach')
    write(path, record(cases()[0], "peak_bytes"))
    assert quantities(path)[0] == ["peak_bytes"]


def test_an_unfinished_run_is_not_overwritten_and_a_finished_one_is(tmp_path: Path) -> None:
    path, case = tmp_path / "a.jsonl", cases()[0]
    write(path, record(case, "operator_macs"), record(case, CASE, None))
    with pytest.raises(UsageError, match="1 row of an interrupted run; continue it with --resume"):
        journal(path, is_resumed=False)
    assert quantities(path)[0] == ["operator_macs"]
    one = journal(path)
    one.finish()
    one.close()
    journal(path, is_resumed=False).close()
    assert quantities(path) == [[], [], [], []]


@pytest.mark.parametrize("content", ["a diary\n", "[1]\n", '{"kernel": "mine"}\n'])
def test_a_file_that_is_not_a_journal_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    for is_resumed in (True, False):
        with pytest.raises(UsageError, match="has other content; move it"):
            journal(path, is_resumed=is_resumed)
    assert path.read_text() == content


def test_newer_schemas_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"attnprof_journal": 2}\n')
    with pytest.raises(UsageError, match="another version"):
        journal(path)


DAMAGE = {
    "a conflict": b"<<<<<<< HEAD",
    "binary": bytes(range(128, 250)) + b"\x00",
    "an empty line": b"",
    "no object": b"[1, 2]",
    "an empty object": b"{}",
    "deep": b"[" * 100_000,
    "a number of 5,000 digits": b"9" * 5_000,
}
"""What may stand where a line was."""

WRONG: dict[str, dict[str, object]] = {
    "a number as text": {"value": "12"},
    "a truth value": {"value": True},
    "a part of a MAC": {"value": 1.5},
    "a negative number": {"value": -1},
    "no number": {"value": float("nan")},
    "a list": {"value": [1]},
    "no kernel": {"kernel": None},
    "a kernel that is an object": {"kernel": {}},
    "a quantity that is a number": {"quantity": 7},
    "a status that there is not": {"status": "fine"},
    "a status that is a list": {"status": []},
    "a detail that is none": {"detail": None},
    "a length as text": {"seq_len": "64"},
}
"""Values of a wrong type in a record of operator_macs."""


def check_damage(path: Path, damaged: bytes) -> None:
    """Of three records the middle one is damaged: it is reported, and the others are kept."""
    one = cases()[0]
    write(path, *[record(one, quantity) for quantity in ("params", "operator_macs", "peak_bytes")])
    lines = path.read_bytes().split(b"\n")
    assert b"operator_macs" in lines[2]
    path.write_bytes(b"\n".join([*lines[:2], damaged, *lines[3:]]))
    again = journal(path)
    assert again.damage == [3]
    assert (
        again.damage_message == f"{path}: damaged line 3 skipped; what is missing is measured again"
    )
    assert [each.quantity for each in again.resumable(groups_by_length(cases()), WANTED)[one]] == [
        "params",
        "peak_bytes",
    ]
    again.add(record(one, "operator_macs"))
    again.close()
    assert quantities(path)[0] == ["params", "peak_bytes", "operator_macs"]


@pytest.mark.parametrize("damaged", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_line_is_skipped_and_reported_and_all_others_are_kept(
    tmp_path: Path, damaged: bytes
) -> None:
    check_damage(tmp_path / "a.jsonl", damaged)


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_value_of_a_wrong_type_is_damage(tmp_path: Path, wrong: dict[str, object]) -> None:
    line = {**record_line(record(cases()[0], "operator_macs")), **wrong}
    check_damage(tmp_path / "a.jsonl", json.dumps(line).encode())


def test_records_below_a_damaged_header_are_nobodys(tmp_path: Path) -> None:
    path, case = tmp_path / "a.jsonl", cases()[0]
    write(path, record(case, "operator_macs"))
    other = replace(KEY, machine={"processor": "another"})
    write(path, record(case, "peak_bytes"), key=other)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"another"}', b'"anoth'))
    assert quantities(path)[0] == ["operator_macs"]
    # Where the only one is damaged nothing is kept, and the run still goes on.
    path.write_bytes(content.split(b"\n", 1)[1].split(b'{"attnprof', 1)[0])
    assert quantities(path)[0] == []
    write(path, record(case, "peak_bytes"))
    assert quantities(path)[0] == ["peak_bytes"]


def test_of_a_line_that_is_there_twice_the_later_one_stands(tmp_path: Path) -> None:
    path, case = tmp_path / "a.jsonl", cases()[0]
    write(path, record(case, "operator_macs", 1))
    write(path, record(case, "operator_macs", 2), record(case, "operator_macs", 3))
    one = journal(path)
    (kept,) = one.resumable(groups_by_length(cases()), WANTED)[case]
    one.close()
    assert kept.value == 2  # and the third was of a quantity that this run had written


def test_where_verdicts_were_withheld_times_are_measured_again(tmp_path: Path) -> None:
    path, (first, second, *_) = tmp_path / "a.jsonl", cases()
    for case, is_withheld in ((first, 1), (second, 0)):
        ends = [record(case, "operator_macs"), record(case, "time_ns")]
        write(path, *ends, record(case, "withheld", is_withheld), record(case, CASE, None))
    assert quantities(path)[:2] == [["operator_macs"], [*WANTED, "withheld", CASE]]


@pytest.mark.parametrize("form", ["csv", "markdown", "html"])
def test_no_output_takes_the_place_of_the_journal(form: str, tmp_path: Path) -> None:
    path = tmp_path / "costs.jsonl"
    options: dict[str, Any] = {"json": str(tmp_path / "costs.json"), form: str(path)}
    with pytest.raises(UsageError, match=f"{form} .*costs.jsonl: is for the records of the run"):
        attnprof.compare(len=64, kernel="bert-sdpa", **options)
    assert not path.exists()
