"""Real schedulers and workers: every case has one row, whatever dies."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import messages_of
from dask_faults import EXITS, HANGS, KILLS, KILLS_IN_ROUNDS, RAISES
from dask_processes import HELPERS, RESOURCE, DaskProcesses, dask_processes
from timeouts import PATIENCE_SECONDS

import attnprof
from attnprof.core.errors import UsageError
from attnprof.measure.on_dask import target as targets
from attnprof.measure.on_dask.messages import Versions

pytest.importorskip("distributed")

SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_heads": 2, "window": 16, "threads": 1, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    with dask_processes(tmp_path_factory.mktemp("dask"), 2) as processes:
        yield processes


def journal_ends(path: Path) -> Counter[tuple[str, int]]:
    lines = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    return Counter(
        (line["kernel"], line["seq_len"]) for line in lines if line.get("quantity") == "case"
    )


def test_every_case_has_one_row_although_workers_are_killed(
    cluster: DaskProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnprof.api.compare import prepare_compare

    monkeypatch.syspath_prepend(HELPERS)
    lengths = [8, RAISES, EXITS, KILLS, 16, KILLS_IN_ROUNDS]
    names = ["dask_faults:Healthy", "dask_faults:Faulty", "longformer-masked"]
    path = tmp_path / "out.json"
    killed: list[int] = []

    def observe(activity: str, part: float) -> None:
        closed = activity.partition(" of ")[0]
        if not killed and closed.isdecimal() and int(closed) >= 3:
            worker = cluster.worker_processes()[0]
            killed.append(worker.pid)
            worker.kill()

    options: Any = {"len": lengths, "kernel": names, **SMALL, "no_memory": True}
    measured: Any = {"max_seconds": 0.05, "allow_slow": True, "dask": cluster.address}
    with prepare_compare({**options, **measured, "json": str(path)}) as request:
        table = request.run(observe)
    assert killed
    rows = {(row.kernel, row.workload.seq_len): row for row in table.rows}
    assert list(rows) == [(name, length) for length in lengths for name in names]
    assert journal_ends(path) == Counter(list(rows))
    failed = {
        RAISES: "RuntimeError: it broke while operator counted it",
        EXITS: "ended its process with exit code 7",
        KILLS: "its worker died twice while it ran",
        KILLS_IN_ROUNDS: "its worker died twice while it was timed",
    }
    for (name, length), row in rows.items():
        words = failed.get(length, "") if name == "dask_faults:Faulty" else ""
        assert (row.status, words in row.detail) == ("error" if words else "ok", True), row
        assert row.machine in table.machines
        assert ("time_ns" in row.values) == (row.status == "ok")
        assert ("on tcp://127.0.0.1:" in row.detail) == (row.status == "error")
    for saved in (path, path.with_suffix(".jsonl")):
        machines = {
            (row.kernel, row.workload.seq_len): row.machine
            for row in attnprof.ResultTable.load(saved).rows
        }
        assert machines == {case: row.machine for case, row in rows.items()}
    plain = attnprof.compare(**options, no_time=True)
    for row in plain.rows:
        there = rows[row.kernel, row.workload.seq_len]
        if there.status == row.status == "ok":
            counts = {name: there.values.get(name) for name in row.values}
            assert counts == row.values


def test_a_worker_of_another_version_is_refused(
    cluster: DaskProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnprof.measure.on_dask import versions

    other = Versions(python="3.0", packages={}, source="")
    monkeypatch.setattr(versions, "versions", lambda: other)
    with pytest.raises(UsageError, match=r"no worker can be used: it has Python 3\.\d+\.\d+ \(her"):
        attnprof.compare(len=8, kernel="longformer-masked", dask=cluster.address, **SMALL)


def test_workers_without_the_resource_are_named_with_the_remedy(
    cluster: DaskProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnprof.measure.on_dask import cluster as clusters

    monkeypatch.setattr(clusters, "_is_usable", lambda info: False)
    with pytest.raises(
        UsageError, match=r'dask worker tcp://127\.0\.0\.1:.* --resources "attnprof=1"'
    ):
        attnprof.compare(len=8, kernel="longformer-masked", dask=cluster.address, **SMALL)


def test_no_scheduler_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"dask tcp://127\.0\.0\.1:1: no scheduler answers there"):
        attnprof.compare(len=8, kernel="longformer-masked", dask="tcp://127.0.0.1:1", **SMALL)


def start(cluster: DaskProcesses, path: Path) -> subprocess.Popen[str]:
    """A run whose second case never ends."""
    command = [sys.executable, "-m", "attnprof", "compare", "--dask", cluster.address, "--no-time"]
    command += ["--hidden-size", "32", "--num-heads", "2", "--kernel", "dask_faults:Faulty"]
    command += ["--len", "8", str(HANGS), "--no-memory", "--json", str(path), "--resume"]
    return subprocess.Popen(
        command, cwd=HELPERS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def forks_of(cluster: DaskProcesses) -> list[psutil.Process]:
    return [fork for one in cluster.worker_processes() for fork in one.children(recursive=True)]


def test_an_interrupted_client_and_a_lost_scheduler_leave_what_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    journal = path.with_suffix(".jsonl")
    with dask_processes(tmp_path, 1) as cluster:
        for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9), (None, 3)):
            process = start(cluster, path)
            wait_until(lambda: journal.exists() and '"case"' in journal.read_text(), process)
            length = f'"seq_len": {HANGS}'
            wait_until(lambda text=length: text in journal.read_text(), process)
            wait_until(lambda: len(forks_of(cluster)) > 1, process)
            if number is None:
                cluster.scheduler.kill()
            else:
                process.send_signal(number)
            _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
            assert process.returncode == code, stderr
            assert "Traceback" not in stderr
            wait_until(lambda: not forks_of(cluster))
    gone = f"attnprof: the Dask scheduler {cluster.address} is gone"
    assert [line for line in messages_of(stderr) if not line.startswith("written: ")] == [gone]
    assert journal_ends(path) == {("dask_faults:Faulty", 8): 1}
    rows = json.loads(path.read_text())["rows"]
    assert (rows[0]["seq_len"], rows[0]["status"]) == (8, "ok")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl for certificates")
def test_a_scheduler_with_tls_is_reached_by_dasks_own_settings(tmp_path: Path) -> None:
    import dask

    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ("--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key)
    security = {
        "distributed.comm.tls.ca-file": certificate,
        "distributed.comm.tls.client.cert": certificate,
        "distributed.comm.tls.client.key": key,
    }
    cluster = DaskProcesses(tmp_path, tls, "tls")
    try:
        cluster.worker(*RESOURCE)
        with dask.config.set(security):
            table = attnprof.compare(
                len=8, kernel="longformer-masked", no_time=True, dask=cluster.address, **SMALL
            )
    finally:
        cluster.close()
    assert cluster.address.startswith("tls://")
    assert [row.status for row in table.rows] == ["ok"]


def test_local_workers_measure_beside_one_another_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "usable_cores", lambda: 2)
    monkeypatch.syspath_prepend(HELPERS)
    before = set(psutil.Process().children(recursive=True))
    table = attnprof.compare(
        len=[8, 16], kernel="dask_faults:Healthy", dask="local:2", max_seconds=0.05,
        allow_slow=True, no_count=True, no_memory=True, **SMALL,
    )  # fmt: skip
    assert [row.workload.seq_len for row in table.rows] == [8, 16]
    for row in table.rows:
        assert row.status == "ok", row
        assert "timed beside 1 other worker on this machine" in row.detail
    assert set(psutil.Process().children(recursive=True)) <= before
