"""The journal of a run: what it keeps, what it gives back, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from attnprof.errors import MeasurementError, UsageError
from attnprof.journal import Journal, Key, journal_path
from attnprof.plan import Case, read_cases
from attnprof.records import CASE, Record

KEY = Key({"processor": "one", "packages": {"torch": "2"}}, {})
WANTED = ["operator_macs", "time_ns"]


def cases() -> tuple[Case, ...]:
    return read_cases({"len": [64, 128], "kernel": ["bert-sdpa", "longformer-hf"]}, "cpu")


def record(case: Case, quantity: str, value: int | None = 1, status: str = "ok") -> Record:
    return Record(case.kernel, case.workload, quantity, value, status)  # type: ignore[arg-type]


def journal(path: Path, *, key: Key = KEY, is_resumed: bool = True) -> Journal:
    return Journal(path, key, is_resumed=is_resumed)


def write(path: Path, *records: Record, key: Key = KEY) -> None:
    one = journal(path, key=key)
    for each in records:
        one.add(each)
    one.close()


def quantities(path: Path, key: Key = KEY, wanted: list[str] = WANTED) -> list[list[str]]:
    one = journal(path, key=key)
    found = one.earlier(cases(), wanted)
    one.close()
    return [[each.quantity for each in found.get(case, [])] for case in cases()]


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
    assert one.earlier(cases(), WANTED)[case] == [kept, record(case, "peak_bytes", 2**60)]
    one.close()


def test_what_was_read_is_not_written_again(tmp_path: Path) -> None:
    path, case = tmp_path / "a.jsonl", cases()[0]
    write(path, record(case, "operator_macs"))
    one = journal(path)
    known = one.earlier(cases(), WANTED)[case]
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
    tmp_path: Path, other: Key
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


def test_a_half_first_line_is_no_journal_yet(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"attnprof_jour')
    with pytest.raises(UsageError, match="something else"):
        journal(path)
    path.write_text('{"attnprof_journal": 1, "mach')
    write(path, record(cases()[0], "peak_bytes"))
    assert quantities(path)[0] == ["peak_bytes"]


def test_an_unfinished_run_is_not_overwritten_and_a_finished_one_is(tmp_path: Path) -> None:
    path, case = tmp_path / "a.jsonl", cases()[0]
    write(path, record(case, "operator_macs"), record(case, CASE, None))
    with pytest.raises(UsageError, match="1 rows of a run that was cut off; go on with --resume"):
        journal(path, is_resumed=False)
    assert quantities(path)[0] == ["operator_macs"]
    one = journal(path)
    one.finish()
    one.close()
    journal(path, is_resumed=False).close()
    assert quantities(path) == [[], [], [], []]


@pytest.mark.parametrize("content", ["a diary\n", "[1]\n", '{"kernel": "mine"}\n'])
def test_a_file_of_someone_elses_stays_whole(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    for is_resumed in (True, False):
        with pytest.raises(UsageError, match="something else; move it"):
            journal(path, is_resumed=is_resumed)
    assert path.read_text() == content


def test_damage_and_newer_schemas_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"attnprof_journal": 2}\n')
    with pytest.raises(UsageError, match="another version"):
        journal(path)
    path.write_text('{"attnprof_journal": 1}\n<<<<<<< HEAD\n{}\n')
    with pytest.raises(UsageError, match="line 2 is damaged"):
        journal(path)


def test_two_runs_do_not_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    one = journal(path)
    with pytest.raises(UsageError, match="another run is writing it"):
        journal(path)
    one.close()
    journal(path).close()


def test_what_could_not_be_written_is_written_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    path, case = tmp_path / "a.jsonl", cases()[0]
    one = journal(path)

    def fails(descriptor: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fails)
        with pytest.raises(MeasurementError, match="No space left on device"):
            one.add(record(case, "operator_macs"))
    one.add(record(case, "peak_bytes"))
    one.close()
    assert quantities(path)[0] == ["operator_macs", "peak_bytes"]


def test_the_journal_lies_beside_the_results() -> None:
    assert journal_path("some/out.json") == Path("some/out.jsonl")
    with pytest.raises(UsageError, match="name it"):
        journal_path("out.jsonl")
