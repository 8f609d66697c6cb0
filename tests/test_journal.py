"""The journal of a run: what it keeps, what it gives back, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.records import CASE, Record
from attnprof.core.result_table import record_line
from attnprof.core.workload import Case
from attnprof.counting import counters
from attnprof.isolation.workers import InProcessWorkers
from attnprof.measure import runner, worker_tasks
from attnprof.measure.peak_memory import PeakMemory
from attnprof.measure.runner import Measurements
from attnprof.options import read_cases
from attnprof.report.journal import Journal, RunFingerprint, journal_path

KEY = RunFingerprint({"processor": "one", "packages": {"torch": "2"}}, {})
WANTED = ["operator_macs", "time_ns"]


def cases() -> tuple[Case, ...]:
    return read_cases({"len": [64, 128], "kernel": ["bert-sdpa", "longformer-hf"]}, "cpu")


def record(case: Case, quantity: str, value: int | None = 1, status: str = "ok") -> Record:
    return Record(case.kernel, case.workload, quantity, value, status)  # type: ignore[arg-type]


def journal(path: Path, *, key: RunFingerprint = KEY, is_resumed: bool = True) -> Journal:
    return Journal(path, key, is_resumed=is_resumed)


def write(path: Path, *records: Record, key: RunFingerprint = KEY) -> None:
    one = journal(path, key=key)
    for each in records:
        one.add(each)
    one.close()


def quantities(
    path: Path, key: RunFingerprint = KEY, wanted: list[str] = WANTED
) -> list[list[str]]:
    one = journal(path, key=key)
    found = one.resumable(cases(), wanted)
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
    assert one.resumable(cases(), WANTED)[case] == [kept, record(case, "peak_bytes", 2**60)]
    one.close()


def test_what_was_read_is_not_written_again(tmp_path: Path) -> None:
    path, case = tmp_path / "a.jsonl", cases()[0]
    write(path, record(case, "operator_macs"))
    one = journal(path)
    known = one.resumable(cases(), WANTED)[case]
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


def test_newer_schemas_are_told(tmp_path: Path) -> None:
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
    """Of three records the middle one is damaged: it is lost and told, and the others are kept."""
    one = cases()[0]
    write(path, *[record(one, quantity) for quantity in ("params", "operator_macs", "peak_bytes")])
    lines = path.read_bytes().split(b"\n")
    assert b"operator_macs" in lines[2]
    path.write_bytes(b"\n".join([*lines[:2], damaged, *lines[3:]]))
    again = journal(path)
    assert again.damage == [3]
    assert again.damage_message == f"{path}: damaged line 3 skipped; what it had is taken again"
    assert [each.quantity for each in again.resumable(cases(), WANTED)[one]] == [
        "params",
        "peak_bytes",
    ]
    again.add(record(one, "operator_macs"))
    again.close()
    assert quantities(path)[0] == ["params", "peak_bytes", "operator_macs"]


@pytest.mark.parametrize("damaged", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_line_is_skipped_and_told_and_all_others_are_kept(
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
    (kept,) = one.resumable(cases(), WANTED)[case]
    one.close()
    assert kept.value == 2  # and the third was of a quantity that this run had written


def test_where_verdicts_were_withheld_times_are_taken_again(tmp_path: Path) -> None:
    path, (first, second, *_) = tmp_path / "a.jsonl", cases()
    for case, is_withheld in ((first, 1), (second, 0)):
        ends = [record(case, "operator_macs"), record(case, "time_ns")]
        write(path, *ends, record(case, "withheld", is_withheld), record(case, CASE, None))
    assert quantities(path)[:2] == [["operator_macs"], [*WANTED, "withheld", CASE]]


# --- a run that is cut off, and goes on -----------------------------------------------------------


def taken_by(case: Case, wanted: str) -> int:
    """What a fake measurement gives: the same for a case each time."""
    return 1000 + case.workload.seq_len + len(case.kernel) + len(wanted)


@pytest.fixture
def measured_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps and rounds that take no time; `longformer-hf` fails at 128 tokens."""

    def count(case: Case, counter: str) -> int:
        if case.kernel == "longformer-hf" and case.workload.seq_len == 128:
            raise RuntimeError("it broke")
        return taken_by(case, counter)

    def in_turn(alive: Sequence[Case], *_: object, **__: object) -> Iterator[Record]:
        for case in alive:
            for quantity in ("time_ns", "time_low_ns", "time_high_ns", "rounds"):
                yield record(case, quantity, taken_by(case, quantity))
            for other in alive:
                yield record(case, f"time_ratio:{other.kernel}", 1)
            yield record(case, "withheld", 0)
            yield record(case, CASE, None)

    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # thousands of them are slow
    monkeypatch.setattr(worker_tasks, "count_with", count)
    monkeypatch.setattr(
        worker_tasks, "peak_memory", lambda case: PeakMemory(taken_by(case, ""), 7, None)
    )
    monkeypatch.setattr(runner, "time_interleaved", in_turn)


def run_all(path: Path) -> Iterator[int]:
    """A run that goes on with what there is; how long its journal is after each record."""
    one = journal(path)
    wanted = [counters.quantity(name) for name in counters.names()] + ["peak_bytes", "time_ns"]
    earlier = one.resumable(four(), wanted)
    for each in runner.measure(four(), Measurements(), InProcessWorkers(), earlier=earlier):
        one.add(each)
        yield path.stat().st_size
    one.finish()
    one.close()
    yield path.stat().st_size


def four() -> tuple[Case, ...]:
    small: Any = {"len": [64, 128], "hidden_size": 32, "num_heads": 2, "window": 16}
    kernels: Any = {"kernel": ["bert-sdpa", "bert-eager", "longformer-hf"]}
    return read_cases({**small, **kernels}, "cpu")


def records_in(content: bytes) -> list[tuple[str, int, str]]:
    lines = [json.loads(line) for line in content.splitlines()]
    return [(one["kernel"], one["seq_len"], one["quantity"]) for one in lines if "quantity" in one]


@pytest.mark.usefixtures("measured_by_nobody")
def test_whenever_a_run_is_killed_nothing_is_taken_twice_and_pairs_stay_pairs(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.jsonl"
    sizes = sorted(set(run_all(path)))
    whole = path.read_bytes()
    everything = records_in(whole)
    assert len(everything) == len(set(everything)) > 80
    for size in sizes:
        path.write_bytes(whole[:size])
        kept = records_in(whole[:size])
        for seq_len in (64, 128):
            timed = {name for name, length, what in kept if (length, what) == (seq_len, "time_ns")}
            assert len(timed) in (0, 3 if seq_len == 64 else 2)
        list(run_all(path))
        taken = records_in(path.read_bytes())
        assert taken[: len(kept)] == kept
        assert sorted(taken) == sorted(everything)


@pytest.mark.usefixtures("measured_by_nobody")
def test_wherever_a_journal_is_cut_nothing_is_in_it_twice(tmp_path: Path) -> None:
    """As a disk does that loses power: between any two lines, and within one."""
    path = tmp_path / "a.jsonl"
    list(run_all(path))
    whole = path.read_bytes()
    everything = {one for one in records_in(whole) if not one[2].startswith("time_ratio")}
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for size in (*ends, *[end - 9 for end in ends[1::5]]):
        path.write_bytes(whole[:size])
        list(run_all(path))
        taken = records_in(path.read_bytes())
        assert len(taken) == len(set(taken))
        assert everything <= set(taken)


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
