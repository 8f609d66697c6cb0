"""Real faults in real processes: failures are rows, and no finished result is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from timeouts import PATIENCE_SECONDS

import attnprof
from attnprof.core.records import COLUMN_UNITS, UTILISATIONS
from attnprof.isolation.forked_worker import ForkedWorker
from attnprof.isolation.outcome import Outcome
from attnprof.measure import worker_tasks

BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"
UNDISTURBED = (
    "from attnprof.measure.disturbance import RoundLog;"
    "RoundLog._limit = lambda log: float('inf'); RoundLog._is_bad = lambda *_: False;"
    "from attnprof.cli import app; app()"
)
"""Other tests run at the same time: their load must not withhold verdicts, or a resumed run would
measure these times again."""
SMALL: dict[str, Any] = {"hidden_size": 32, "num_heads": 2, "window": 16, "max_seconds": 0.5}
WORDS = ["--hidden-size", "32", "--num-heads", "2", "--window", "16", "--max-seconds", "0.05"]
WORDS += ["--allow-slow"]  # these cases are fast, but not beside other tests

PAIR = ("longformer-masked", "longformer-banded")
"""Kernels without transformers, whose import takes seconds."""

FAULTS = {
    "segfault_in_build": ("error", "killed by SIGSEGV"),
    "raise_in_count": ("error", "RuntimeError: it broke while operator counted it"),
    "hang_in_count": ("timeout", "took more than 1 s while operator counted it"),
    "exit_in_memory": ("error", "ended its process with exit code 7 while its memory was measured"),
    "allocate_in_memory": ("oom", "ran out of memory"),
    "kill_in_warm_up": ("error", "killed by SIGKILL while it was timed"),
    "segfault_in_time": ("error", "killed by SIGSEGV while it was timed"),
    "raise_in_time": ("error", "RuntimeError: it broke while it was timed"),
}


call = ForkedWorker.call


def call_with_short_limit_for_hangs(
    worker: ForkedWorker, function: Callable[..., Any], *args: Any, max_seconds: float
) -> Outcome:
    """A call with a time limit of one second if it hangs, and with the usual limit otherwise."""
    hangs = function is worker_tasks.count_with and "hang_in_count" in args[0].kernel
    return call(worker, function, *args, max_seconds=1.0 if hangs else max_seconds)


@pytest.mark.usefixtures("undisturbed")
def test_each_fault_is_a_row_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(ForkedWorker, "call", call_with_short_limit_for_hangs)
    names = {f"benchmark_survival:{name}": name for name in FAULTS}
    table = attnprof.compare(
        len=32,
        kernel=["bert-sdpa", *names, "bert-eager"],
        timeout=PATIENCE_SECONDS,
        device="cpu",
        json=str(tmp_path / "out.json"),
        **SMALL,
    )
    rows = {row.kernel: row for row in table.rows}
    assert rows.keys() == {"bert-sdpa", "bert-eager", *names}
    for kernel, name in names.items():
        status, words = FAULTS[name]
        assert (rows[kernel].status, words in rows[kernel].detail) == (status, True), (
            name,
            rows[kernel].status,
            rows[kernel].detail,
        )
        # Results from before the failure are kept.
        assert ("operator_macs" in rows[kernel].values) == name.endswith(
            ("_in_warm_up", "_in_time")
        )
    for kernel in ("bert-sdpa", "bert-eager"):
        assert rows[kernel].status == "ok"
        # There is no cache, and too little time for the machine's rates.
        assert {*COLUMN_UNITS} - {"cache_bytes", *UTILISATIONS} <= {*rows[kernel].values}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.jsonl"]
    assert psutil.Process().children(recursive=True) == []


def compare(*words: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", UNDISTURBED, "compare", *WORDS, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | variables,
        start_new_session=True,
    )


def wait_for_rows(process: subprocess.Popen[str], journal: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if journal.exists() and journal.read_text().count('"quantity": "case"') >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("no rows came")


def workers_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def assert_ended(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def quantities(journal: Path) -> list[tuple[str, int, str]]:
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    return [
        (line["kernel"], line["seq_len"], line["quantity"]) for line in lines if "quantity" in line
    ]


def test_a_killed_run_is_resumed_and_nothing_is_measured_twice(tmp_path: Path) -> None:
    journal = tmp_path / "out.jsonl"
    lengths = ["--len", "32:1024:x2", "--kernel", *PAIR]
    where = ["--json", str(tmp_path / "out.json")]
    first = compare(*lengths, *where)
    wait_for_rows(first, journal, 3)
    children = workers_of(first.pid)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert_ended(children)
    kept = quantities(journal)
    assert kept
    json.loads((tmp_path / "out.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.jsonl"]

    again = compare(*lengths, *where)
    assert (again.communicate()[0], again.returncode) == ("", 2)
    assert quantities(journal) == kept

    second = compare(*lengths, *where, "--resume")
    _, stderr = second.communicate()
    assert second.returncode == 0, stderr
    resumed = quantities(journal)
    assert resumed[: len(kept)] == kept
    assert len(resumed) == len(set(resumed))
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["status"] for row in rows] == ["ok"] * 12
    assert all(row["time_ns"] and row["operator_macs"] and row["peak_bytes"] for row in rows)


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_ends_a_run_cleanly(tmp_path: Path, number: int, code: int, word: str) -> None:
    path = tmp_path / "out.csv"
    process = compare(
        "--len", "32:8192:x2", "--kernel", *PAIR,
        "--csv", str(path), "--json", str(tmp_path / "out.json"),
    )  # fmt: skip
    wait_for_rows(process, tmp_path / "out.jsonl", 2)
    children = workers_of(process.pid)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code
    assert f"attnprof: {word}; finished results are kept\n" in stderr
    assert "Traceback" not in stderr
    assert_ended(children)
    rows = path.read_text().splitlines()[1:]
    assert len(rows) >= 2
    assert ",ok," in rows[0]
    assert "tokens" in stdout


def test_a_signal_before_anything_is_measured_says_so(tmp_path: Path) -> None:
    process = compare("--len", "32")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not workers_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    children = workers_of(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=PATIENCE_SECONDS) == (
        "",
        "attnprof: terminated; nothing was measured yet\n",
    )
    assert process.returncode == 143
    assert_ended(children)


def test_a_full_disk_loses_no_result_and_no_old_file(tmp_path: Path) -> None:
    csv, results = tmp_path / "out.csv", tmp_path / "out.json"
    csv.write_text("old")
    full = (
        "import resource; from attnprof.cli import app;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400)); app()"
    )
    done = subprocess.run(
        [sys.executable, "-c", full, "compare", *WORDS, "--len", "32", "64", "--kernel",
         PAIR[0], "--csv", str(csv), "--json", str(results), "--no-count"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "File too large" in done.stderr
    assert "written: " not in done.stderr
    assert "Traceback" not in done.stderr
    assert "64 tokens" in done.stdout
    assert "ms" in done.stdout or "µs" in done.stdout
    assert csv.read_text() == "old"
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert all(json.loads(line) for line in lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.jsonl"]
