"""The journal of a run: what it keeps, what it gives back, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from journals import cases, journal, quantities, record

from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.records import CASE, Record
from attnprof.core.workload import Case
from attnprof.counting import counters
from attnprof.isolation.workers import InProcessWorkers
from attnprof.measure import runner, worker_tasks
from attnprof.measure.peak_memory import PeakMemory
from attnprof.measure.single_case import Measurements
from attnprof.options import read_cases
from attnprof.report.journal import journal_path


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
    earlier = one.resumable(resumable_cases(), wanted)
    for each in runner.measure(
        resumable_cases(), Measurements(), InProcessWorkers(), earlier=earlier
    ):
        one.add(each)
        yield path.stat().st_size
    one.finish()
    one.close()
    yield path.stat().st_size


def resumable_cases() -> tuple[Case, ...]:
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
