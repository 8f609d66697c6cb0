"""Resuming a run from its journal: nothing is lost, and nothing is measured twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from journals import cases, journal, quantities, record
from workloads import groups_by_length

from attnprof.core.errors import MeasurementError, UsageError
from attnprof.core.records import CASE, Record
from attnprof.core.workload import Case
from attnprof.counting import counters
from attnprof.isolation.workers import InProcessWorkers
from attnprof.measure import runner, worker_tasks
from attnprof.measure.peak_memory import PeakMemory
from attnprof.measure.single_case import MeasureSettings
from attnprof.options import read_cases
from attnprof.report.journal import journal_path


def fake_value(case: Case, wanted: str) -> int:
    """The result of a fake measurement, the same each time for a case."""
    return 1000 + case.workload.seq_len + len(case.kernel) + len(wanted)


@pytest.fixture
def instant_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks and rounds that take no time; `longformer-hf` fails at 128 tokens."""

    def count(case: Case, counter: str) -> int:
        if case.kernel == "longformer-hf" and case.workload.seq_len == 128:
            raise RuntimeError("it broke")
        return fake_value(case, counter)

    def fake_rounds(alive: Sequence[Case], *_: object, **__: object) -> Iterator[Record]:
        for case in alive:
            for quantity in ("time_ns", "time_low_ns", "time_high_ns", "rounds"):
                yield record(case, quantity, fake_value(case, quantity))
            for reference in alive:
                yield record(case, f"time_ratio:{reference.kernel}", 1)
            yield record(case, "withheld", 0)
            yield record(case, CASE, None)

    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # thousands of calls are slow
    monkeypatch.setattr(worker_tasks, "count_with", count)
    monkeypatch.setattr(
        worker_tasks, "peak_memory", lambda case: PeakMemory(fake_value(case, ""), 7, None)
    )
    monkeypatch.setattr(runner, "time_interleaved", fake_rounds)


def run_all(path: Path) -> Iterator[int]:
    """Resume a run; yields the size of its journal after each record."""
    resumed = journal(path)
    wanted = [counters.quantity(name) for name in counters.names()] + ["peak_bytes", "time_ns"]
    earlier = resumed.resumable(groups_by_length(resumable_cases()), wanted)
    for measured in runner.measure(
        groups_by_length(resumable_cases()), MeasureSettings(), InProcessWorkers(), earlier=earlier
    ):
        resumed.add(measured)
        yield path.stat().st_size
    resumed.finish()
    resumed.close()
    yield path.stat().st_size


def resumable_cases() -> tuple[Case, ...]:
    small: Any = {"len": [64, 128], "hidden_size": 32, "num_heads": 2, "window": 16}
    kernels: Any = {"kernel": ["bert-sdpa", "bert-eager", "longformer-hf"]}
    return read_cases({**small, **kernels}, "cpu")


def records_in(content: bytes) -> list[tuple[str, int, str]]:
    lines = [json.loads(line) for line in content.splitlines()]
    return [
        (line["kernel"], line["seq_len"], line["quantity"]) for line in lines if "quantity" in line
    ]


@pytest.mark.usefixtures("instant_measurements")
def test_a_killed_run_resumes_without_measuring_twice_or_splitting_pairs(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.jsonl"
    sizes = sorted(set(run_all(path)))
    content = path.read_bytes()
    everything = records_in(content)
    assert len(everything) == len(set(everything)) > 80
    for size in sizes:
        path.write_bytes(content[:size])
        kept = records_in(content[:size])
        for seq_len in (64, 128):
            timed = {name for name, length, what in kept if (length, what) == (seq_len, "time_ns")}
            assert len(timed) in (0, 3 if seq_len == 64 else 2)
        list(run_all(path))
        resumed = records_in(path.read_bytes())
        assert resumed[: len(kept)] == kept
        assert sorted(resumed) == sorted(everything)


@pytest.mark.usefixtures("instant_measurements")
def test_a_truncated_journal_resumes_without_duplicates(tmp_path: Path) -> None:
    """As after a power failure: between any two lines, and within a line."""
    path = tmp_path / "a.jsonl"
    list(run_all(path))
    content = path.read_bytes()
    everything = {entry for entry in records_in(content) if not entry[2].startswith("time_ratio")}
    ends = [index + 1 for index, byte in enumerate(content) if byte == ord("\n")]
    # A case has 13 or more lines: every third end of a line is one after each of them.
    for size in (*ends[::3], *[end - 9 for end in ends[1::10]]):
        path.write_bytes(content[:size])
        list(run_all(path))
        resumed = records_in(path.read_bytes())
        assert len(resumed) == len(set(resumed))
        assert everything <= set(resumed)


def test_two_runs_cannot_write_the_same_journal(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    first = journal(path)
    with pytest.raises(UsageError, match="another run is writing to it"):
        journal(path)
    first.close()
    journal(path).close()


def test_a_record_that_could_not_be_written_is_written_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    path, case = tmp_path / "a.jsonl", cases()[0]
    first = journal(path)

    def fails(descriptor: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fails)
        with pytest.raises(MeasurementError, match="No space left on device"):
            first.add(record(case, "operator_macs"))
    first.add(record(case, "peak_bytes"))
    first.close()
    assert quantities(path)[0] == ["operator_macs", "peak_bytes"]


def test_the_journal_is_next_to_the_results() -> None:
    assert journal_path("some/out.json") == Path("some/out.jsonl")
    with pytest.raises(UsageError, match="reserved for the records of the run"):
        journal_path("out.jsonl")
